"""Servers that keep every request, and services over them."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.support.wire import TIMEOUT_S, Edge, Peer, Server, edge, serving

GET = b"GET /x HTTP/1.1\r\nHost: shop.test\r\n\r\n"
Answer = Callable[[str, Mapping[str, str], bytes], tuple[int, bytes]]


class Recorder(Server):
    """Answers with its name, or as `answer` says, and keeps every request."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Answer = lambda first, headers, body: (200, self.name)
        self.delay_s = 0.0
        super().__init__(self.serve)

    def serve(self, peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                request = peer.message()
                self.requests.append(request)
                time.sleep(self.delay_s)
                status, text = self.answer(*request)
                peer.send(
                    b"HTTP/1.1 %d X\r\nX-From: %s\r\nContent-Length: %d\r\n\r\n%s"
                    % (status, self.name, len(text), text)
                )


class Held:
    """The answers of a server, held until the test lets them go."""

    def __init__(self, server: Recorder, status: int = 200) -> None:
        self.opened = threading.Event()
        self.asked = threading.Event()
        self.name = server.name
        self.status = status
        server.answer = self.answer

    def answer(self, *request: Any) -> tuple[int, bytes]:
        self.asked.set()
        assert self.opened.wait(TIMEOUT_S)
        return self.status, self.name


@contextlib.contextmanager
def recorders(*names: str) -> Iterator[list[Recorder]]:
    servers = [Recorder(name) for name in names]
    try:
        yield servers
    finally:
        for server in servers:
            server.close()


def config(services: Mapping[str, Any], **urls: str) -> dict[str, Any]:
    """Everything to the service `all`; each of `urls` is a service of one server."""
    single = {name: {"loadBalancer": {"servers": [{"url": url}]}} for name, url in urls.items()}
    routers = {"all": {"rule": "PathPrefix(`/`)", "service": "all"}}
    return {"http": {"routers": routers, "services": {**single, **services}}}


def counters(lb: Edge, member: str) -> Any:
    slots = lb.proxy._publication.current.snapshot.slots.servers  # type: ignore[union-attr]
    return lb.proxy._region.server_counters(slots[member])


def post(body: bytes, chunked: bool = False) -> bytes:
    if not chunked:
        return b"POST /x HTTP/1.1\r\nHost: shop.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    pieces = [body[at : at + 5000] for at in range(0, len(body), 5000)]
    wire = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"POST /x HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n" + wire + b"0\r\n\r\n"


def mirrored(*mirrors: tuple[str, int], **more: Any) -> dict[str, Any]:
    listed = [{"name": name, "percent": percent} for name, percent in mirrors]
    return {"all": {"mirroring": {"service": "main", "mirrors": listed, **more}}}


def two_servers(main: str, other: str) -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": main}, {"url": other}]}}


def value(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def through(url: str, *middlewares: dict[str, Any], **more: Any) -> dict[str, Any]:
    """All requests through these middlewares, the first one outermost."""
    dynamic = config({}, all=url)
    names = [f"m{at}" for at in range(len(middlewares))]
    dynamic["http"]["middlewares"] = dict(zip(names, middlewares))
    dynamic["http"]["routers"]["all"]["middlewares"] = names
    return {**dynamic, **more}


def answered(answer: bytes, *middlewares: dict[str, Any], request: bytes = GET) -> tuple[str, dict[str, str], bytes]:
    """What a client gets of an answer of a server."""

    def script(peer: Peer) -> None:
        peer.message()
        peer.send(answer)

    with serving(script) as server, edge(through(server.url, *middlewares)) as lb:
        client = lb.client()
        client.send(request)
        return client.message(body=not request.startswith(b"HEAD"))
