"""Several attempts at once, of which the first answer wins; and attempts that a route wants beside lbcore's own."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest

from lbcore.middleware.base import Tries
from tests.support.instance import eventually
from tests.support.native import native, replaced_by
from tests.support.ports import free_port
from tests.support.recorder import GET, Recorder, config, counters, post, recorders, two_servers
from tests.support.wire import TIMEOUT_S, Edge, deaf, edge, serving
from tests.wire.test_waiting import idle, in_loop


@pytest.fixture(name="trying")
def known_trying(monkeypatch: pytest.MonkeyPatch) -> Any:
    return replaced_by(monkeypatch, native("limits").Trying("trying@file"))


def tried(services: dict[str, Any], **urls: str) -> dict[str, Any]:
    dynamic = config(services, **urls)
    dynamic["http"]["middlewares"] = {"trying": {"addPrefix": {"prefix": "/unused"}}}
    dynamic["http"]["routers"]["all"]["middlewares"] = ["trying"]
    return dynamic


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


def holding(server: Recorder, status: int = 200) -> Held:
    return Held(server, status)


def under_way(lb: Edge, url: str) -> int:
    found: int = counters(lb, f"all@file|{url}").in_flight
    return found


def hedge(lb: Edge, trying: Any) -> Any:
    return in_loop(lb, trying.hedge)


@pytest.mark.parametrize("winner", [0, 1])
@pytest.mark.parametrize("pooled", [False, True])
def test_of_two_attempts_the_first_answer_is_the_clients(trying: Any, winner: int, pooled: bool) -> None:
    with recorders("a", "b") as servers, edge(tried({"all": two_servers(servers[0].url, servers[1].url)})) as lb:
        client = lb.client()
        for _ in range(2 if pooled else 0):
            client.ask(GET)
        held = [holding(server) for server in servers]
        client.send(GET)
        assert held[0].asked.wait(TIMEOUT_S)
        assert hedge(lb, trying)
        assert held[1].asked.wait(TIMEOUT_S)
        assert not hedge(lb, trying)  # there is no third one
        assert [under_way(lb, server.url) for server in servers] == [1, 1]
        held[winner].opened.set()
        assert client.message()[2] == servers[winner].name
        idle(lb, *servers)  # the other one has ended, too
        held[1 - winner].opened.set()
        for server in servers:
            server.answer = lambda *request, name=server.name: (200, name)  # type: ignore[misc]
        assert {client.ask(GET)[2] for _ in range(2)} == {b"a", b"b"}
        retries = [counters(lb, f"all@file|{server.url}").retries for server in servers]
        assert retries == [0, 1]
        made = trying.attempts[-3]
        assert [(item[0], item[4], item[6]) for item in made] == [
            (servers[1 - winner].url, 0, True),
            (servers[winner].url, 200, False),
        ]


@pytest.mark.parametrize("broken", [0, 1])
def test_of_two_attempts_one_may_fail(trying: Any, broken: int) -> None:
    ends = [threading.Event(), threading.Event()]
    asked = [threading.Event(), threading.Event()]

    def script(number: int) -> Any:
        def serve(peer: Any) -> None:
            peer.message()
            asked[number].set()
            assert ends[number].wait(TIMEOUT_S)
            if number != broken:
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        return serve

    with serving(script(0)) as a, serving(script(1)) as b, edge(tried({"all": two_servers(a.url, b.url)})) as lb:
        client = lb.client()
        client.send(GET)
        assert asked[0].wait(TIMEOUT_S)
        assert hedge(lb, trying)
        assert asked[1].wait(TIMEOUT_S)
        ends[broken].set()
        eventually(lambda: under_way(lb, (a, b)[broken].url) == 0, "one attempt has failed")
        ends[1 - broken].set()
        assert client.message()[2] == b"ok"
        eventually(lambda: under_way(lb, (a, b)[1 - broken].url) == 0, "the other one is over")


def test_when_all_attempts_fail_the_last_one_is_the_answer(trying: Any) -> None:
    with recorders("a") as (a,), edge(tried({"all": two_servers(a.url, f"http://127.0.0.1:{free_port()}")})) as lb:
        held = holding(a)
        client = lb.client()
        client.send(GET)
        assert held.asked.wait(TIMEOUT_S)
        assert hedge(lb, trying)  # refused at once
        a.answer = lambda *request: (503, b"last")
        held.status = 503
        held.opened.set()
        assert client.message()[0].split()[1] == "503"
        idle(lb, a)


@pytest.mark.parametrize("end", ["client", "drain"])
def test_attempts_end_with_their_client(trying: Any, end: str) -> None:
    with recorders("a") as (a,), deaf() as port:
        dynamic = tried({"all": two_servers(a.url, f"http://127.0.0.1:{port}")})
        with edge(dynamic, transport={"lifeCycle": {"graceTimeOut": "200ms"}}) as lb:
            held = holding(a)
            client = lb.client()
            client.send(GET)
            assert held.asked.wait(TIMEOUT_S)
            assert hedge(lb, trying)
            assert under_way(lb, f"http://127.0.0.1:{port}") == 1
            if end == "client":
                client.close()
                idle(lb, a)
                eventually(lambda: under_way(lb, f"http://127.0.0.1:{port}") == 0, "no slot is taken")
        held.opened.set()
        assert trying.under_way == []


def test_what_has_a_body_or_an_answer_is_not_asked_twice_at_once(trying: Any) -> None:
    with recorders("a", "b") as (a, b), edge(tried({"all": two_servers(a.url, b.url)})) as lb:
        held = holding(a)
        client = lb.client()
        client.send(post(b"x" * 1000))
        assert held.asked.wait(TIMEOUT_S)
        assert not hedge(lb, trying)
        held.opened.set()
        assert client.message()[2] == b"a"


def answers(server: Recorder, *statuses: int) -> None:
    left = list(statuses)
    server.answer = lambda *request: (left.pop(0), b"%d" % len(left))


@pytest.mark.parametrize("body", [b"", os.urandom(200_000)], ids=["empty", "long"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_route_may_want_another_answer(trying: Any, body: bytes, chunked: bool) -> None:
    trying.tries = Tries(3, [(500, 503)], repeats_unsafe=True)
    request = post(body, chunked) if body else GET
    with recorders("a") as (a,), edge(tried({}, all=a.url)) as lb:
        answers(a, 503, 500, 200, 404, 503, 503, 502)
        client = lb.client()
        assert client.ask(request)[0].split()[1] == "200"
        assert [item[4] for item in trying.attempts[-1]] == [503, 500, 200]
        assert client.ask(request)[0].split()[1] == "404"
        assert client.ask(request)[0].split()[1] == "502"  # the third one stands
        assert len(a.requests) == 7 and {asked[2] for asked in a.requests} == {body}
        assert a.connections == 1
        assert counters(lb, f"all@file|{a.url}").retries == 4
        idle(lb, a)
        assert lb.proxy._region.body_memory == 0  # type: ignore[union-attr]


def test_attempts_have_their_bounds(trying: Any) -> None:
    with recorders("a") as (a,), edge(tried({}, all=a.url)) as lb:
        a.answer = lambda *request: (503, b"no")
        trying.tries = Tries(4, [(503, 503)])
        lb.ask(post(b"x"))  # not idempotent
        assert len(a.requests) == 1
        trying.tries = Tries(4, [(503, 503)], repeats_unsafe=True, max_body_bytes=1000)
        assert lb.ask(post(b"x" * 1001))[0].split()[1] == "503"
        assert len(a.requests) == 2
        trying.tries = Tries(9, [(503, 503)], pause_ms=100, within_ms=2500)
        begun = time.monotonic()
        assert lb.ask(GET)[0].split()[1] == "503"
        assert 3 <= len(a.requests) - 2 <= 5  # at 0, 100, 300, 700, 1500 ms; the next one would be too late
        assert time.monotonic() - begun >= 0.299
        idle(lb, a)


def test_a_route_may_set_how_many_servers_are_tried(trying: Any) -> None:
    dead = [f"http://127.0.0.1:{free_port()}" for _ in range(5)]
    with recorders("a") as (a,):
        servers = {"loadBalancer": {"servers": [{"url": url} for url in (*dead, a.url)]}}
        with edge(tried({"all": servers})) as lb:
            assert lb.ask(GET)[0].split()[1] == "502"  # three of them
            lb.apply(tried({"all": {"loadBalancer": {**servers["loadBalancer"], "strategy": "wrr"}}}))
            trying.tries = Tries(6)
            for _ in range(6):
                assert lb.ask(GET)[2] == b"a"
            idle(lb, a)


def test_a_pause_ends_with_its_client(trying: Any) -> None:
    trying.tries = Tries(2, [(503, 503)], pause_ms=20_000)
    with recorders("a") as (a,), edge(tried({}, all=a.url)) as lb:
        a.answer = lambda *request: (503, b"no")
        client = lb.client()
        client.send(GET)
        eventually(lambda: len(a.requests) == 1, "it was asked")
        idle(lb, a)
        client.close()
        eventually(lambda: trying.under_way == [], "the exchange is over")
        assert len(a.requests) == 1
