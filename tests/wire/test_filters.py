"""Filters between the two ends: they see every byte of both bodies, in step with the slower end, and may refuse."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.native import with_arithmetic, with_filters, with_steps
from tests.support.recorder import config, post, recorders
from tests.support.wire import Edge, Peer, edge, serving

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SIZE = 40_000_000  # more than the sockets on the way hold, and far more than what is spliced


@pytest.fixture(name="tap")
def known_tap(monkeypatch: pytest.MonkeyPatch) -> Any:
    return with_filters(monkeypatch)


def tapped(services: dict[str, Any] | None = None, **urls: str) -> dict[str, Any]:
    dynamic = config(services or {}, **urls)
    dynamic["http"]["middlewares"] = {"tap": {"addPrefix": {"prefix": "/unused"}}}
    dynamic["http"]["routers"]["all"]["middlewares"] = ["tap"]
    return dynamic


def flipped(data: bytes) -> bytes:
    return data.translate(bytes(value ^ 0x20 for value in range(256)))


@pytest.mark.parametrize("chunked", [False, True])
def test_both_bodies_pass_through_and_back(tap: Any, chunked: bool) -> None:
    with recorders("all") as (server,), edge(tapped(all=server.url)) as lb:
        client = lb.client()
        for size in (1, 1000, 300_000):
            body = os.urandom(size)
            client.send(post(body, chunked))
            assert client.message()[2] == flipped(b"all")
            assert server.requests[-1][2] == flipped(body)
        assert client.ask(GET)[2] == flipped(b"all")
        assert (tap.up.ends, tap.down.ends) == (3, 4)
        assert tap.up.bytes == 301_001


def stands(seen: Any, lb: Edge) -> bool:
    """Whether the receiver behind a filter is full.

    The filter does not see it where the part that it passed on last was taken, and could be written in part only.
    """
    before = seen.bytes
    for _ in range(20):
        lb.settle()
    return bool(seen.stalls) or 1_000_000 < seen.bytes == before


def test_a_slow_server_holds_up_the_client(tap: Any) -> None:
    digests: list[str] = []

    def slow(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        eventually(lambda: stands(tap.up, lb), "nothing more is read of the client")
        before = tap.up.bytes
        for _ in range(20):
            lb.settle()  # nothing more may be read of the client meanwhile
        assert tap.up.bytes == before < SIZE
        digests.append(hashlib.sha256(peer.exactly(SIZE)).hexdigest())
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    body = os.urandom(SIZE)
    with serving(slow) as server, edge(tapped(all=server.url)) as lb:
        client = lb.client()
        threading.Thread(target=client.send, args=(post(body),), daemon=True).start()
        assert client.message()[2] == flipped(b"ok")
        assert digests == [hashlib.sha256(flipped(body)).hexdigest()]
        assert (tap.up.pushed, tap.up.ends) == (0, 1)


def test_a_slow_client_holds_up_the_server(tap: Any) -> None:
    body = os.urandom(SIZE)
    with recorders("all") as (server,), edge(tapped(all=server.url)) as lb:
        server.answer = lambda first, headers, got: (200, body)
        client = lb.client()
        client.send(GET)
        eventually(lambda: stands(tap.down, lb), "nothing more is read of the server")
        before = tap.down.bytes
        for _ in range(20):
            lb.settle()
        assert tap.down.bytes == before < SIZE
        assert client.message()[2] == flipped(body)
        assert (tap.down.pushed, tap.down.ends) == (0, 1)


def test_what_a_filter_has_changed_is_what_a_fallback_gets(tap: Any) -> None:
    body = os.urandom(100_000)
    services = {"all": {"failover": {"service": "main", "fallback": "spare", "errors": {"status": ["503"]}}}}
    with recorders("main", "spare") as (main, spare):
        main.answer = lambda first, headers, got: (503, b"no")
        with edge(tapped(services, main=main.url, spare=spare.url)) as lb:
            client = lb.client()
            client.send(post(body))
            assert client.message()[2] == flipped(b"spare")
            assert [request[2] for request in main.requests + spare.requests] == [flipped(body)] * 2


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_a_filter_refuses_is_answered_and_read_past(tap: Any, chunked: bool) -> None:
    with recorders("all") as (server,), edge(tapped(all=server.url)) as lb:
        client = lb.client()
        client.send(post(bytes(4_000_000), chunked).replace(b"\r\n\r\n", b"\r\nX-Limit: 100000\r\n\r\n", 1))
        first, headers, _ = client.message()
        assert first.split()[1] == "413" and headers["connection"] == "close"
        assert client.to_the_end() == b""
        assert not server.requests
        assert lb.ask(GET)[2] == flipped(b"all")


def test_an_answer_that_a_filter_refuses_ends_before_its_end(tap: Any) -> None:
    with recorders("all") as (server,), edge(tapped(all=server.url)) as lb:
        server.answer = lambda first, headers, got: (200, bytes(SIZE))
        client = lb.client()
        client.send(GET.replace(b"\r\n\r\n", b"\r\nX-Answer-Limit: 100000\r\n\r\n"))
        assert client.head()[0].split()[1] == "200"
        assert len(client.to_the_end()) < SIZE
        assert lb.ask(GET)[0].split()[1] == "200"


def test_nothing_is_put_into_a_filter_that_has_said_it_is_full(tap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of lbcore's own, and what a filter has kept back to the end, wait for the client as well."""
    step, count = with_steps(monkeypatch), 60_000
    with recorders("all") as (server,):
        dynamic = tapped(all=server.url)
        dynamic["http"]["middlewares"]["one"] = {"addPrefix": {"prefix": "/unused"}}
        dynamic["http"]["services"]["all"]["middlewares"] = ["tap", "one"]
        with edge(dynamic) as lb:
            assert step
            client = lb.client()
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            asked = GET.replace(b"\r\n\r\n", b"\r\nX-Step: one=answer\r\n\r\n") * count
            threading.Thread(target=client.send, args=(asked,), daemon=True).start()
            eventually(lambda: stands(tap.down, lb), "the client takes no more")
            for _ in range(count):
                first, _, text = client.message()
                assert (first.split()[1], text) == ("403", b"no")
            assert client.ask(GET)[2] == b"all"
            assert (tap.down.pushed, tap.down.ends) == (0, 2 * count + 2)


def changed(data: bytes, *names: str) -> bytes:
    """What the filters of these names make of a body, the first one first."""
    for name in names:
        data = bytes((value + 1 if name == "plus" else 3 * value) % 256 for value in data)
    return data


def arithmetic(services: dict[str, Any], **middlewares: list[str]) -> dict[str, Any]:
    dynamic = config(services)
    dynamic["http"]["middlewares"] = {name: {"addPrefix": {"prefix": "/unused"}} for name in ("plus", "times")}
    dynamic["http"]["routers"]["all"]["middlewares"] = middlewares.pop("router", [])
    for service, names in middlewares.items():
        dynamic["http"]["services"][service]["middlewares"] = names
    return dynamic


def balancer(url: str) -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": url}]}}


@pytest.mark.parametrize("where", [{"router": ["plus", "times"]}, {"router": ["plus"], "all": ["times"]}])
def test_what_an_outer_middleware_makes_of_a_body_is_what_an_inner_one_sees(
    monkeypatch: pytest.MonkeyPatch, where: dict[str, list[str]]
) -> None:
    with_arithmetic(monkeypatch)
    body = os.urandom(100_000)
    with recorders("a") as (a,), edge(arithmetic({"all": balancer(a.url)}, **where)) as lb:
        assert lb.ask(post(body))[2] == changed(b"a", "times", "plus")
        assert a.requests[0][2] == changed(body, "plus", "times")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("where", "main_sees", "spare_sees"),
    [
        ({"main": ["plus"]}, ["plus"], []),
        ({"main": ["plus"], "spare": ["times"]}, ["plus"], ["times"]),
        ({"all": ["plus"], "main": ["times"]}, ["plus", "times"], ["plus"]),
        ({"router": ["times"], "main": ["plus"], "spare": ["times"]}, ["times", "plus"], ["times", "times"]),
        ({"router": ["plus"], "all": ["times"]}, ["plus", "times"], ["plus", "times"]),
    ],
)
def test_a_filter_of_a_gate_that_is_left_is_left_as_well(
    monkeypatch: pytest.MonkeyPatch,
    where: dict[str, list[str]],
    main_sees: list[str],
    spare_sees: list[str],
    chunked: bool,
) -> None:
    with_arithmetic(monkeypatch)
    with recorders("main", "spare") as (main, spare):
        main.answer = lambda *request: (503, b"no")
        failover = {"service": "main", "fallback": "spare", "errors": {"status": ["503"]}}
        services = {"all": {"failover": failover}, "main": balancer(main.url), "spare": balancer(spare.url)}
        with edge(arithmetic(services, **where)) as lb:
            client = lb.client()
            for size in (10, 100_000):
                body = os.urandom(size)
                client.send(post(body, chunked))
                assert client.message()[2] == changed(b"spare", *reversed(spare_sees))
                assert main.requests[-1][2] == changed(body, *main_sees)
                assert spare.requests[-1][2] == changed(body, *spare_sees)


def test_filters_between_two_failovers_begin_anew_with_each_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    with_arithmetic(monkeypatch)
    with recorders("a", "b", "c") as (a, b, c):
        a.answer = b.answer = lambda *request: (503, b"no")
        errors = {"status": ["503"]}
        services = {
            "all": {"failover": {"service": "inner", "fallback": "c", "errors": errors}},
            "inner": {"failover": {"service": "a", "fallback": "b", "errors": errors}},
            **{server.name.decode(): balancer(server.url) for server in (a, b, c)},
        }
        with edge(arithmetic(services, inner=["plus"], a=["times"])) as lb:
            body = os.urandom(100_000)
            assert lb.ask(post(body, chunked=True))[2] == b"c"
            assert a.requests[0][2] == changed(body, "plus", "times")
            assert b.requests[0][2] == changed(body, "plus")
            assert c.requests[0][2] == body
