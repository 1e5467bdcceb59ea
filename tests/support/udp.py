"""Both ends of UDP for tests: servers on threads, clients with a deadline on every call."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.support.wire import TIMEOUT_S

Answer = Callable[["UdpServer", bytes, Any], None]


def echo(server: UdpServer, data: bytes, client: Any) -> None:
    server.sock.sendto(data, client)


def say_name(server: UdpServer, data: bytes, client: Any) -> None:
    server.sock.sendto(server.name + b" " + data, client)


class UdpServer:
    """A bound socket, served by a thread. `seen`: the datagrams and senders so far; `came`: released for each."""

    def __init__(self, name: str = "a", answer: Answer = say_name, host: str = "127.0.0.1", port: int = 0) -> None:
        self.name = name.encode()
        self.answer = answer
        self.seen: list[tuple[bytes, Any]] = []
        self.came = threading.Semaphore(0)
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, port))
        self.port = self.sock.getsockname()[1]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                data, client = self.sock.recvfrom(65535)
            except OSError:
                return
            if client is None:
                return  # the socket is shut
            self.seen.append((data, client))
            with contextlib.suppress(OSError):  # the client may have gone
                self.answer(self, data, client)
            self.came.release()

    def waits_for(self, count: int) -> None:
        """Return when so many more datagrams have been answered."""
        for _ in range(count):
            assert self.came.acquire(timeout=TIMEOUT_S)

    @property
    def sources(self) -> set[Any]:
        """The addresses from which datagrams came."""
        return {client for _, client in self.seen}

    def close(self) -> None:
        # A thread that waits in recvfrom holds the socket: closing the descriptor alone does not free the port.
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self._thread.join(TIMEOUT_S)


@contextlib.contextmanager
def servers(*names: str, answer: Answer = say_name) -> Iterator[list[UdpServer]]:
    found = [UdpServer(name, answer) for name in names]
    try:
        yield found
    finally:
        for server in found:
            server.close()


class UdpClient:
    """A connected socket."""

    def __init__(self, port: int, host: str = "127.0.0.1", source: str = "") -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.settimeout(TIMEOUT_S)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect((host, port))

    def send(self, data: bytes) -> None:
        self.sock.send(data)

    def receive(self) -> bytes:
        return self.sock.recv(65535)

    def ask(self, data: bytes) -> bytes:
        """The next datagram that comes after one was sent."""
        self.send(data)
        return self.receive()

    def close(self) -> None:
        self.sock.close()


@contextlib.contextmanager
def clients(port: int, count: int, **options: Any) -> Iterator[list[UdpClient]]:
    found = [UdpClient(port, **options) for _ in range(count)]
    try:
        yield found
    finally:
        for client in found:
            client.close()


def udp(servers: Mapping[str, int] | list[str], **more: Any) -> dict[str, Any]:
    """A dynamic configuration that sends all datagrams to servers, with weights or without."""
    listed: list[dict[str, Any]] = (
        [{"address": name, "weight": weight} for name, weight in servers.items()]
        if isinstance(servers, Mapping)
        else [{"address": name} for name in servers]
    )
    return {
        "udp": {
            "routers": {"all": {"service": "all"}},
            "services": {"all": {"loadBalancer": {"servers": listed, **more}}},
        }
    }
