"""Requests at a constant rate, asked by a process of its own: what its caller does besides delays none of them."""

from __future__ import annotations

import http.client
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from bench.process import LOAD_CORE, pin

INTERVAL_S = 0.005  # between two requests
PATIENCE_S = 30.0


class Client:
    """Asks on one connection, which is opened again when it has failed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def status(self, host: str) -> int:
        """The status of an answer; 0: there was none."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
            self._connection.request("GET", "/", headers={"Host": host})
            answer = self._connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return 0


class Rate:
    """Asks for a host while its block runs, and has the results afterwards.

    times_s  of the requests, from when each was due, so that none hides behind a slow one.
    failed   how many of them were not answered by 200.
    """

    def __init__(self, port: int, host: str, interval_s: float = INTERVAL_S) -> None:
        self.times_s: list[float] = []
        self.failed = 0
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_ask, args=(theirs, port, host, interval_s), daemon=True
        )

    def __enter__(self) -> Rate:
        self._process.start()
        self._ours.recv()
        return self

    def __exit__(self, *error: object) -> None:
        self._ours.send(None)
        self.times_s, self.failed = self._ours.recv()
        self._process.join()


def _ask(parent: Connection, port: int, host: str, interval_s: float) -> None:
    pin(LOAD_CORE, first=True)
    client, times_s, failed = Client(port), list[float](), 0
    client.status(host)  # opens the connection
    parent.send(None)
    due, is_over = time.monotonic(), _poller(parent)
    while not is_over():
        if (wait_s := due - time.monotonic()) > 0:
            time.sleep(wait_s)
        failed += client.status(host) != 200
        times_s.append(time.monotonic() - due)
        due += interval_s
    parent.send((times_s, failed))


def _poller(parent: Connection) -> Callable[[], bool]:
    return lambda: parent.poll(0)
