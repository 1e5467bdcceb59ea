"""Hostile clients, hostile servers, reloads and a log at once: the good are served, nothing is told of others."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import threading
import time
from pathlib import Path

import pytest

from tests.fuzz.world import ANSWER_BODY, REQUEST_BODY, HostileClient, HostileServer, draw_config
from tests.support.instance import eventually
from tests.support.wire import Edge, edge

SECONDS = float(os.environ.get("LBCORE_FUZZ_SECONDS", "10"))
SEED = int(os.environ.get("LBCORE_FUZZ_SEED", "1"))
CLIENTS = 6
GOOD = b"GET /good HTTP/1.1\r\nHost: good.test\r\n\r\n"
TOKENS = re.compile(r"tk\d+q")


class Errors(logging.Handler):
    """Keeps what lbcore logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def each(stop: threading.Event, act: object, pause_s: float, failures: list[BaseException]) -> threading.Thread:
    """A thread that acts until it is told to stop; what it raises is kept."""

    def run() -> None:
        try:
            while not stop.wait(pause_s):
                act()  # type: ignore[operator]
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def ask_well(lb: Edge) -> None:
    first, _, _ = lb.ask(GOOD)
    assert first == "HTTP/1.1 200 OK"


def no_line_tells_of_two(log: str) -> None:
    for line in log.splitlines():
        entry = json.loads(line)
        assert len(set(TOKENS.findall(line))) <= 1, line
        assert REQUEST_BODY.decode() not in line, entry
        assert ANSWER_BODY.decode() not in line, entry


@pytest.mark.timeout(3600)
def test_the_good_are_served_and_nothing_is_told_of_others(tmp_path: Path) -> None:
    draw = random.Random(SEED)
    servers = [HostileServer(SEED, 0.0), *(HostileServer(SEED + n, 0.4) for n in range(1, 5))]
    urls = [server.url for server in servers]
    errors, stop, failures = Errors(), threading.Event(), list[BaseException]()
    log = tmp_path / "access.log"
    static = {
        "accessLog": {"filePath": str(log), "format": "json", "fields": {"headers": {"defaultMode": "keep"}}},
        "metrics": {"prometheus": {}},
        "explain": {"secret": "a secret of some length"},
    }
    point = {"transport": {"respondingTimeouts": {"readTimeout": "300ms", "idleTimeout": "300ms"}}}
    logging.getLogger("lbcore").addHandler(errors)
    with edge(draw_config(draw, urls), None, static, **point) as lb:
        clients = [HostileClient(SEED * 100 + n, lb.address, n * 1_000_000) for n in range(CLIENTS)]
        threads = [each(stop, client.run_once, 0, failures) for client in clients]
        threads.append(each(stop, lambda: lb.apply(draw_config(draw, urls)), 0.25, failures))
        threads.append(each(stop, lambda: ask_well(lb), 0.02, failures))
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and not failures:
            time.sleep(0.1)  # the others are at work
        stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        ask_well(lb)
        eventually(lambda: lb.open_connections == 0, "all connections of clients have ended")
    logging.getLogger("lbcore").removeHandler(errors)
    for server in servers:
        server.close()
    assert failures == []
    assert [line for line in errors.lines if "internal error" in line] == []
    no_line_tells_of_two(log.read_text())
    assert sum(client.connections for client in clients) > 10 * SECONDS
