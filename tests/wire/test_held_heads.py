"""Answers whose head waits for the body: middlewares in front see them once, as they go to the client."""

from __future__ import annotations

import contextlib
import gzip
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from lbcore.middleware_api import Request, Response
from tests.support.recorder import config
from tests.support.wire import TIMEOUT_S, Edge, Peer, Server, edge, serving
from tests.wire.test_waiting import Steps, asks, held, idle, in_loop, limited, sent

HOLDERS: dict[str, dict[str, Any]] = {
    "type": {"contentType": {}},
    "small": {"compress": {}},
    "whole": {"buffering": {"maxResponseBodyBytes": 1_000_000}},
}
GET = b"GET /x HTTP/1.1\r\nHost: shop.test\r\nAccept-Encoding: gzip\r\n\r\n"
HEAD = b"HTTP/1.1 200 X\r\nX-Server: yes\r\nTransfer-Encoding: chunked\r\n\r\n"


def chain(url: str, *names: str, gates: int = 0) -> dict[str, Any]:
    """Middlewares in this order, of which the last `gates` are the service's."""
    dynamic = config(limited(url, 100))
    unused = {"addPrefix": {"prefix": "/unused"}}
    dynamic["http"]["middlewares"] = {**HOLDERS, "one": unused, "two": unused}
    dynamic["http"]["routers"]["all"]["middlewares"] = list(names[: len(names) - gates])
    dynamic["http"]["services"]["all"]["middlewares"] = list(names[len(names) - gates :])
    return dynamic


def pieces(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"


def answers(body: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                peer.message()
                peer.send(HEAD + pieces(body[:7], body[7:]))

    return script


class Counting:
    """Tells in the answer how often it has seen one."""

    def on_request(self, request: Request) -> None:
        request.state["count"] = 0

    def on_response(self, request: Request, response: Response) -> None:
        request.state["count"] += 1
        response.headers["X-Count"] = f"{request.state['count']} {response.headers.get('X-Server', '-')}"


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("gates", [0, 1, 2])
def test_a_class_sees_lbcores_own_answer_alone_if_the_server_fails_before_the_head_is_sent(
    holder: str, gates: int
) -> None:
    def script(peer: Peer) -> None:
        peer.message()
        peer.send(HEAD)

    with serving(script) as server:
        with edge(chain(server.url, "counting", holder, gates=gates), middlewares={"counting": Counting()}) as lb:
            first, headers, text = lb.ask(GET)
            assert (first.split()[1], headers["x-count"], text) == ("502", "1 -", b"Bad Gateway")


def test_a_class_sees_lbcores_own_answer_alone_if_the_servers_is_too_long_or_too_late() -> None:
    released = threading.Event()

    def script(peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                late = peer.message()[0].startswith("GET /late")
                peer.send(HEAD + (b"" if late else pieces(bytes(1_000_001))))
                if late:
                    released.wait(TIMEOUT_S)

    with contextlib.closing(Server(script)) as server:
        dynamic = chain(server.url, "limit", "counting", "whole")
        dynamic["http"]["middlewares"]["limit"] = {"timeout": {"after": "500ms"}}
        with edge(dynamic, middlewares={"counting": Counting()}) as lb:
            first, headers, _ = lb.ask(GET)
            assert (first.split()[1], headers["x-count"]) == ("500", "1 -")
            first, headers, _ = lb.ask(GET.replace(b"/x", b"/late"))
            assert (first.split()[1], headers["x-count"]) == ("504", "1 -")
            released.set()


@pytest.mark.parametrize(
    "holders", [["type"], ["small"], ["whole"], ["type", "small", "whole"], ["whole", "small", "type"]]
)
@pytest.mark.parametrize("gates", [0, 1])
@pytest.mark.parametrize("size", [0, 1, 500_000])
def test_the_answer_goes_on_when_the_middlewares_in_front_let_it(
    known: Steps, holders: list[str], gates: int, size: int
) -> None:
    body = os.urandom(size)
    with serving(answers(body)) as server, edge(chain(server.url, "one", *holders, "two", gates=gates)) as lb:
        client = lb.client()
        for wish in ("", "back-wait", "back-early", "back-answer", "back-late-answer", "back-discard", ""):
            client.send(asks(f"one={wish}", GET))
            if wish in ("back-wait", "back-late-answer", "back-discard"):
                held(lb, known["one"], 1)
                in_loop(lb, known["one"].release)
            first, headers, text = client.message()
            assert headers.get("x-two") == (None if "answer" in wish or "discard" in wish else "1"), wish
            if "x-two" not in headers:
                assert (first.split()[1], text) == ("418", b"another"), wish
                continue
            text = gzip.decompress(text) if "content-encoding" in headers else text
            assert (headers["x-one"], text) == ("3" if wish else "1", body)
        idle(lb, server)  # type: ignore[arg-type]


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("wish", ["back-wait", "back-discard"])
def test_a_client_that_goes_away_while_the_middlewares_in_front_have_its_answer_wait(
    known: Steps, holder: str, wish: str
) -> None:
    with serving(answers(os.urandom(500_000))) as server, edge(chain(server.url, "one", holder)) as lb:
        client = sent(lb, asks(f"one={wish}", GET))
        held(lb, known["one"], 1)
        client.close()
        held(lb, known["one"], 0)
        idle(lb, server)  # type: ignore[arg-type]
    assert known["one"].statuses == [499]


@pytest.mark.parametrize("wish", ["back-answer", "back-discard", "back-wait"])
def test_a_server_that_is_silent_after_its_first_bytes_holds_nothing_up(known: Steps, wish: str) -> None:
    """It has flushed them, so that they are not kept until there are enough."""
    released = threading.Event()

    def script(peer: Peer) -> None:
        peer.message()
        peer.send(HEAD + b"5\r\nhello\r\n")
        released.wait(TIMEOUT_S)
        with contextlib.suppress(OSError):
            peer.send(b"0\r\n\r\n")

    def text_of(lb: Edge, client: Peer) -> bytes:
        if wish != "back-answer":
            held(lb, known["one"], 1)
            in_loop(lb, known["one"].release)
        if wish != "back-wait":
            return client.message()[2]
        assert client.head()[1]["content-encoding"] == "gzip"
        size = int(client.until(b"\r\n"), 16)
        first = client.exactly(size + 2)[:-2]
        released.set()
        return gzip.decompress(first + client.chunks()[0])

    with serving(script) as server, edge(chain(server.url, "one", "small")) as lb:
        client = sent(lb, asks(f"one={wish}", GET))
        assert text_of(lb, client) == (b"hello" if wish == "back-wait" else b"another")
        released.set()
