"""A stand-in for the data plane: an asyncio server that hands each request to the first server of the first service.

`python -m tests.support.standin` is a worker that runs it; `LBCORE_STANDIN` makes it misbehave for a test.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig
from lbcore.process import worker
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap


@dataclass
class Disabled:
    kind: str
    name: str
    errors: list[str]


class StandinEngine:
    def __init__(self, loop: asyncio.AbstractEventLoop, static: StaticConfig, region: Region, index: int) -> None:
        if os.environ.get("LBCORE_STANDIN") == "fail":
            raise RuntimeError("told to fail")
        self._loop, self._region, self._index = loop, region, index
        self._server = ("", 0)
        self._sockets: list[socket.socket] = []
        self._writers: dict[asyncio.StreamWriter, bool] = {}  # True while a request is under way
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False

    @property
    def connections(self) -> int:
        return len(self._writers)

    def listen(self, entry_point: str, sock: socket.socket) -> None:
        self._sockets.append(sock)
        self._loop.add_reader(sock.fileno(), self._accept, sock)

    def apply(self, dynamic: DynamicConfig, slots: SlotMap) -> list[Disabled]:
        servers = [service.load_balancer.servers for service in dynamic.http.services.values() if service.load_balancer]
        if servers:
            url = urlsplit(servers[0][0].url)
            self._server = (url.hostname or "", url.port or 80)
        known = dynamic.http.services
        return [
            Disabled("router", name, [f"the service {router.service!r} does not exist"])
            for name, router in dynamic.http.routers.items()
            if f"{router.service}@file" not in known
        ]

    def stop_accepting(self) -> None:
        for sock in self._sockets:
            self._accept(sock)
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()

    def drain(self) -> None:
        self._draining = True
        for writer, busy in self._writers.items():
            if not busy:
                writer.close()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _accept(self, sock: socket.socket) -> None:
        while True:
            try:
                connection, _ = sock.accept()
            except BlockingIOError:
                return
            task = self._loop.create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        self._writers[writer] = False
        try:
            while not self._draining:
                head = await reader.readuntil(b"\r\n\r\n")
                self._writers[writer] = True
                if head.startswith(b"GET /hang "):
                    time.sleep(60)
                writer.write(await self._answer(head))
                await writer.drain()
                self._writers[writer] = False
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            del self._writers[writer]
            writer.close()

    async def _answer(self, head: bytes) -> bytes:
        host, port = self._server
        if not port:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        up_reader, up_writer = await asyncio.open_connection(host, port)
        up_writer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answer = await up_reader.read(-1)
        up_writer.close()
        lines = answer.partition(b"\r\n\r\n")
        close = b"\r\nConnection: close" if self._draining else b""
        return lines[0] + b"\r\nX-Worker: %d" % self._index + close + lines[1] + lines[2]


def make(loop: asyncio.AbstractEventLoop, static: StaticConfig, region: Region, index: int) -> Any:
    return StandinEngine(loop, static, region, index)


if __name__ == "__main__":
    sys.exit(worker.main(factory=make))
