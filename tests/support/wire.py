"""The proxy inside the test's process, and both ends of it as raw sockets: what goes over the wire, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import select
import socket
import ssl
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import uvloop

import lbcore
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig

TIMEOUT_S = 30.0  # long enough for a machine that is busy with other things
TIME_ENOUGH_MS = 86_400_000  # for all that an exchange or a connection may wait for
FULL_S = 0.05  # a socket that takes nothing for so long is full


class Peer:
    """One end of a connection, with a deadline on every call."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest = b""
        sock.settimeout(TIMEOUT_S)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def fill(self, data: bytes) -> bytes:
        """Send until nothing more is taken. Gives the rest, of which there has to be some."""
        view = memoryview(data)
        self.sock.setblocking(False)
        while view and select.select([], [self.sock], [], FULL_S)[1]:
            with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError):
                view = view[self.sock.send(view[: 1 << 16]) :]
        self.sock.settimeout(TIMEOUT_S)
        assert view, "all of it was taken"
        return bytes(view)

    def until(self, end: bytes) -> bytes:
        """Everything up to and with `end`. Raises EOFError."""
        while end not in self.rest:
            piece = self.sock.recv(65536)
            if not piece:
                raise EOFError(self.rest)
            self.rest += piece
        taken, _, self.rest = self.rest.partition(end)
        return taken + end

    def exactly(self, count: int) -> bytes:
        pieces, have = [self.rest], len(self.rest)
        while have < count:
            pieces.append(self.sock.recv(1 << 18))
            have += len(pieces[-1])
            if not pieces[-1]:
                raise EOFError(b"".join(pieces))
        data = b"".join(pieces)
        self.rest = data[count:]
        return data[:count]

    def to_the_end(self) -> bytes:
        """Everything until the other side has closed."""
        pieces, self.rest = [self.rest], b""
        with contextlib.suppress(ConnectionResetError):
            while pieces[-1] or len(pieces) == 1:
                pieces.append(self.sock.recv(1 << 18))
        return b"".join(pieces)

    def head(self) -> tuple[str, dict[str, str]]:
        """First line and headers, names in lower case."""
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").rstrip("\r\n").split("\r\n")
        return first, {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def chunks(self) -> tuple[bytes, bytes]:
        """A chunked body and its trailer section."""
        pieces = []
        while size := int(self.until(b"\r\n"), 16):
            pieces.append(self.exactly(size))
            assert self.exactly(2) == b"\r\n"
        trailers = b""
        while (line := self.until(b"\r\n")) != b"\r\n":
            trailers += line
        return b"".join(pieces), trailers

    def message(self, *, body: bool = True) -> tuple[str, dict[str, str], bytes]:
        """A whole message: first line, headers, body as its framing says."""
        first, headers = self.head()
        if not body:
            return first, headers, b""
        if "chunked" in headers.get("transfer-encoding", ""):
            return first, headers, self.chunks()[0]
        return first, headers, self.exactly(int(headers.get("content-length", 0)))

    def ask(self, request: bytes) -> tuple[str, dict[str, str], bytes]:
        self.send(request)
        return self.message()

    def close(self) -> None:
        self.sock.close()


Script = Callable[[Peer], None]


def answer_all(peer: Peer) -> None:
    """A well-behaved server: every request is answered with what it was."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            first, headers, body = peer.message()
            text = first.encode() + b"\n" + body
            sent = b"" if first.startswith("HEAD") else text
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), sent))
            if headers.get("connection") == "close":
                return


class Server:
    """A listening socket; each connection is served by the script on a thread of its own."""

    def __init__(self, script: Script = answer_all, family: int = socket.AF_INET, path: str = "") -> None:
        self.script = script
        self.connections = 0
        self.errors: list[BaseException] = []
        self._sock = socket.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_UNIX:
            self._sock.bind(path)
            self.url = f"unix:{path}"
        else:
            self._sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
            host, port = self._sock.getsockname()[:2]
            self.port = port
            self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._sock.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError as error:
                if error.errno != errno.EMFILE:
                    return
                time.sleep(0.01)  # descriptors of the process, which may come back
                continue
            self.connections += 1
            threading.Thread(target=self._serve, args=(Peer(sock),), daemon=True).start()

    def _serve(self, peer: Peer) -> None:
        try:
            self.script(peer)
        except BaseException as error:
            self.errors.append(error)
        finally:
            peer.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


@contextlib.contextmanager
def deaf(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """An address that neither takes a connection nor refuses it: its backlog is full. Gives the port."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind((host, port))
        full.listen(0)
        for _ in range(4):  # from some of them on, the kernel drops what would connect
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        yield full.getsockname()[1]


class Edge:
    """The proxy, running on a thread. `entry_point` is that of `web`."""

    def __init__(self, proxy: lbcore.Proxy, loop: asyncio.AbstractEventLoop) -> None:
        self.proxy = proxy
        self.clients: weakref.WeakSet[Peer] = weakref.WeakSet()
        self.is_driven = False
        self._loop = loop

    @property
    def address(self) -> tuple[str, int] | str:
        return self.proxy.addresses["web"]

    def client(self, entry_point: str = "web", *, stays: bool = False) -> Peer:
        """A new connection. It is closed before the proxy ends, which would wait for it, unless it `stays`."""
        address = self.proxy.addresses[entry_point]
        if isinstance(address, str):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(address)
        else:
            sock = socket.create_connection(address, timeout=TIMEOUT_S)
        peer = Peer(sock)
        if not stays:
            self.clients.add(peer)
        return peer

    def ask(self, request: bytes) -> tuple[str, dict[str, str], bytes]:
        """One request on a connection of its own."""
        client = self.client()
        try:
            return client.ask(request)
        finally:
            client.close()

    def apply(self, dynamic: Mapping[str, Any] | DynamicConfig) -> None:
        coroutine = self.proxy.apply(DynamicConfig.model_validate(dynamic))
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(TIMEOUT_S)

    def drive(self, delay_ms: int = 0) -> None:
        """Let time pass for the data plane: from the first call on its clock stands still between the calls."""
        self.is_driven = True

        async def drive() -> None:
            engine: Any = self.proxy._plane
            engine.reactor.drive(delay_ms)

        asyncio.run_coroutine_threadsafe(drive(), self._loop).result(TIMEOUT_S)

    def settle(self) -> None:
        """Return when all that had come in has been read, and its timers have been armed."""

        async def turn() -> None:
            for _ in range(3):  # a turn of the loop looks at all sockets; one had begun before
                await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(turn(), self._loop).result(TIMEOUT_S)

    @property
    def open_connections(self) -> int:
        async def read() -> int:
            assert self.proxy._plane is not None
            return self.proxy._plane.connections

        return asyncio.run_coroutine_threadsafe(read(), self._loop).result(TIMEOUT_S)


def config_for(*urls: str, transport: Mapping[str, Any] | None = None, **balancer: Any) -> dict[str, Any]:
    """A dynamic configuration that sends everything to servers."""
    settings: dict[str, Any] = {"servers": [{"url": url} for url in urls], **balancer}
    http: dict[str, Any] = {
        "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "all"}},
        "services": {"all": {"loadBalancer": settings}},
    }
    if transport is not None:
        settings["serversTransport"] = "custom"
        http["serversTransports"] = {"custom": transport}
    return {"http": http}


@contextlib.contextmanager
def edge(
    dynamic: Mapping[str, Any] | DynamicConfig,
    entry_points: Mapping[str, Any] | None = None,
    static: Mapping[str, Any] | None = None,
    middlewares: Mapping[str, object] | None = None,
    **entry_point: Any,
) -> Iterator[Edge]:
    """Run the proxy with a dynamic configuration while the block lasts; by default with one entry point, `web`.

    middlewares  instances of classes, by name.
    """
    points = dict(entry_points or {"web": {"address": "127.0.0.1:0", **entry_point}})
    if static and ("metrics" in static or "api" in static):
        points.setdefault("traefik", {"address": "127.0.0.1:0"})  # its own port may be another program's
    settings = StaticConfig.model_validate({"entryPoints": points, **(static or {})})
    ready: list[Edge] = []
    started, stop = threading.Event(), asyncio.Event()
    failure: list[BaseException] = []

    async def main() -> None:
        async with lbcore.Proxy(settings, DynamicConfig.model_validate(dynamic), middlewares=middlewares) as proxy:
            ready.append(Edge(proxy, asyncio.get_running_loop()))
            started.set()
            await stop.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main())
        except BaseException as error:
            failure.append(error)
            started.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    if not started.wait(TIMEOUT_S):
        where = "".join(traceback.format_stack(sys._current_frames()[thread.ident or 0]))
        raise AssertionError(f"the proxy does not start within {TIMEOUT_S:g} s; its thread is here:\n{where}")
    if failure:
        raise failure[0]
    try:
        yield ready[0]
    finally:
        for client in ready[0].clients:
            client.close()
        if ready[0].is_driven:
            ready[0].settle()
            ready[0].drive(TIME_ENOUGH_MS)  # what is left waits for its time: it would hold up the end
        ready[0]._loop.call_soon_threadsafe(stop.set)
        thread.join(TIMEOUT_S + 5)
        assert not thread.is_alive(), "the proxy does not stop"
        if failure:
            raise failure[0]


@contextlib.contextmanager
def serving(script: Script = answer_all) -> Iterator[Server]:
    """A server while the block lasts; errors of its script fail the test."""
    server = Server(script)
    try:
        yield server
    finally:
        server.close()
        if server.errors:
            raise server.errors[0]
