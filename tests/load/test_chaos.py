"""Half a minute of faults under a three-level tree: what fails is what was under way at a server when it broke."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.instance import Instance, running
from tests.support.ports import free_port

SECONDS = 30
CLIENTS = 8
FAULTS = ("dead", "hanging", "resetting", "garbage", "cutting")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Fragile:
    """A server that breaks in one of FAULTS and is mended, on one port."""

    def __init__(self) -> None:
        self.mode = ""
        self.served = 0
        self.peers: set[socket.socket] = set()
        self.lock = threading.Lock()
        self.listener: socket.socket | None = None
        self.port = free_port()  # the same after a restart
        self.listen()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def listen(self) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", self.port))
        sock.listen(64)
        self.listener = sock
        threading.Thread(target=self.accept, args=(sock,), daemon=True).start()

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.peers.add(sock)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            data = b""
            while piece := sock.recv(65536):
                data += piece
                while b"\r\n\r\n" in data:
                    data = data.partition(b"\r\n\r\n")[2]
                    mode = self.mode
                    if mode == "hanging":
                        continue
                    if mode == "garbage":
                        sock.sendall(b"\x00\x01 not HTTP at all\r\n\r\n")
                        return
                    if mode in ("resetting", "dead"):
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                    if mode == "cutting":
                        sock.sendall(OK[:-1])
                        return
                    self.served += 1
                    sock.sendall(OK)
        with self.lock:
            self.peers.discard(sock)

    def break_down(self, mode: str) -> None:
        self.mode = mode
        if mode == "dead" and self.listener is not None:
            with contextlib.suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
            with self.lock:
                for sock in self.peers:
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        # What hangs does so for ever: the connections it holds are given up, as by a process that is started again.
        hung = self.mode == "hanging"
        self.mode = ""
        if self.listener is None:
            self.listen()
        if hung:
            with self.lock:
                for sock in self.peers:
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)


def tree(servers: list[Fragile]) -> dict[str, Any]:
    """Two data centres of two services of two servers each."""
    services: dict[str, Any] = {}
    for number in range(4):
        urls = [{"url": server.url} for server in servers[2 * number : 2 * number + 2]]
        services[f"leaf{number}"] = {
            "loadBalancer": {
                "servers": urls,
                "serversTransport": "quick",
                # No whole server needs that long, however busy the machine is: what it says of one is true.
                "healthCheck": {"path": "/", "interval": "100ms", "timeout": "2s"},
                "passiveHealthCheck": {"maxFailedAttempts": 1, "failureWindow": "1s"},
            }
        }
    watch: dict[str, Any] = {"healthCheck": {}}
    for number in range(2):
        children = [{"name": f"leaf{2 * number + n}"} for n in range(2)]
        services[f"dc{number}"] = {"weighted": {"services": children, **watch}}
    services["all"] = {"weighted": {"services": [{"name": "dc0", "weight": 2}, {"name": "dc1"}], **watch}}
    return {
        "http": {
            "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "all"}},
            "services": services,
            "serversTransports": {"quick": {"forwardingTimeouts": {"responseHeaderTimeout": "2s"}}},
        }
    }


def load(lb: Instance, stop: threading.Event, outcomes: Counter[str]) -> None:
    """One client after another request on one connection; a new connection after a failure."""
    sock: socket.socket | None = None
    while not stop.is_set():
        try:
            if sock is None:
                sock = socket.create_connection(("127.0.0.1", lb.port), timeout=5)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            data = b""
            while b"\r\n\r\n" not in data or (b" 200 " in data and not data.endswith(b"ok")):
                piece = sock.recv(65536)
                if not piece:
                    raise ConnectionError("cut")
                data += piece
            outcomes[data.split(b" ", 2)[1].decode()] += 1
            if b" 200 " not in data:
                sock.close()
                sock = None
        except OSError as error:
            outcomes[type(error).__name__] += 1
            sock = None
    if sock is not None:
        sock.close()


def at_work(servers: list[Fragile]) -> list[Fragile]:
    """Those that answer requests just now: a server that was mended is out until lbcore has found that it is whole."""
    before = [server.served for server in servers]
    time.sleep(0.1)  # the load never pauses: a server in the round robin has many requests in that time
    return [server for server, count in zip(servers, before) if server.mode == "" and server.served > count + 20]


def test_only_what_is_under_way_at_a_server_that_breaks_fails(tmp_path: Path) -> None:
    draw = random.Random(7)
    servers = [Fragile() for _ in range(8)]
    with running(tmp_path, tree(servers), workers=2) as lb:
        lb.runs(1)
        stop, outcomes = threading.Event(), Counter[str]()
        clients = [threading.Thread(target=load, args=(lb, stop, outcomes)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        faults = 0
        end = time.monotonic() + SECONDS
        broken: list[Fragile] = []
        while time.monotonic() < end:
            working = at_work(servers)
            if len(broken) < 5 and len(working) > 2 and (not broken or draw.random() < 0.6):
                # Another server is up then, so no client may get an answer without a server.
                server = draw.choice(working)
                server.break_down(FAULTS[faults % len(FAULTS)])
                broken.append(server)
                faults += 1
            elif broken:
                broken.pop(0).mend()
            time.sleep(draw.uniform(0.1, 0.4))  # the pace of the faults
        stop.set()
        for client in clients:
            client.join(20)
            assert not client.is_alive()
        failed = sum(count for outcome, count in outcomes.items() if outcome != "200")
        print(f"{outcomes['200']} answers, {faults} faults, {failed} failed: {dict(outcomes)}")
        assert outcomes["200"] > 5_000
        assert faults >= 2 * len(FAULTS)
        assert outcomes["503"] == 0
        # At most one request of each client is at the server that breaks, and one finds out later whether it is mended.
        assert failed <= faults * (CLIENTS + 1)
        assert "internal error" not in lb.log
