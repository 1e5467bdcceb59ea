"""Middlewares that have a request wait, of a router and of a service: nothing is lost or left meanwhile."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.native import with_steps
from tests.support.ports import free_port
from tests.support.recorder import GET, Recorder, config, counters, post, recorders, two_servers
from tests.support.wire import TIMEOUT_S, Edge, Peer, edge

Steps = dict[str, Any]
PLACES = ["router", "child", "service"]


@pytest.fixture(name="known")
def known_steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return with_steps(monkeypatch)


def stepped(place: str, services: dict[str, Any] | None = None, **urls: str) -> dict[str, Any]:
    """The middleware `one` in front of everything: of the router, of one below it, or of the service `all`."""
    dynamic = config(services or {}, **urls)
    dynamic["http"]["middlewares"] = {name: {"addPrefix": {"prefix": "/unused"}} for name in ("one", "two", "three")}
    routers = dynamic["http"]["routers"]
    if place == "child":
        routers["below"] = {"rule": "PathPrefix(`/`)", "parentRefs": ["all"], "service": routers["all"].pop("service")}
        routers["all"]["middlewares"] = ["two"]
    where = {"router": routers["all"], "child": routers.get("below"), "service": dynamic["http"]["services"]["all"]}
    where[place]["middlewares"] = ["one"]
    return dynamic


def asks(wish: str, request: bytes = GET) -> bytes:
    return request.replace(b"\r\n\r\n", b"\r\nX-Step: %s\r\n\r\n" % wish.encode(), 1)


def sent(lb: Edge, request: bytes, **options: Any) -> Peer:
    client = lb.client(**options)
    client.send(request)
    return client


def in_loop(lb: Edge, call: Callable[[], Any]) -> Any:
    async def run() -> Any:
        return call()

    return asyncio.run_coroutine_threadsafe(run(), lb._loop).result(TIMEOUT_S)


def held(lb: Edge, step: Any, count: int) -> None:
    eventually(lambda: in_loop(lb, lambda: len(step.held)) == count, f"{count} requests wait")


def idle(lb: Edge, *servers: Recorder) -> None:
    """Nothing is under way, and no slot is taken."""
    members = [f"all@file|{server.url}" for server in servers]
    eventually(lambda: all(counters(lb, member).in_flight == 0 for member in members), "nothing is under way")
    eventually(lambda: all(in_flight(lb, member) == 0 for member in members), "no slot is taken")


def in_flight(lb: Edge, member: str) -> int:
    slots = lb.proxy._publication.current.snapshot.slots.servers  # type: ignore[union-attr]
    return lb.proxy._region.counted_in_flight(slots[member])


def limited(url: str, limit: int = 1) -> dict[str, Any]:
    return {"all": {"loadBalancer": {"servers": [{"url": url}], "maxConnections": limit}}}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("body", [b"", b"x" * 300_000])
def test_a_request_that_waited_goes_on_or_is_answered(known: Steps, place: str, body: bytes) -> None:
    request = post(body, chunked=True) if body else GET
    with recorders("a") as (a,), edge(stepped(place, all=a.url)) as lb:
        first, headers, _ = lb.ask(request)
        assert (first.split()[1], headers["x-one"]) == ("200", "1")
        client = sent(lb, asks("one=wait", request))
        held(lb, known["one"], 1)
        assert len(a.requests) == 1
        in_loop(lb, known["one"].release)
        first, headers, text = client.message()
        # What the middleware keeps for the exchange was there when it went on, and at the answer.
        assert (first.split()[1], headers["x-one"], text) == ("200", "2", b"a")
        assert (a.requests[1][1]["x-one"], a.requests[1][2]) == ("passed", body)
        assert client.ask(GET)[2] == b"a"
        client = sent(lb, asks("one=late-answer", request))
        held(lb, known["one"], 1)
        in_loop(lb, known["one"].release)
        first, headers, text = client.message()
        assert (first.split()[1], text) == ("403", b"no")
        assert len(a.requests) == 3
        idle(lb, a)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("wish", ["break", "late-break"])
def test_what_goes_wrong_in_a_middleware_ends_that_exchange_alone(known: Steps, place: str, wish: str) -> None:
    with recorders("a") as (a,), edge(stepped(place, limited(a.url))) as lb:
        client = sent(lb, asks(f"one={wish}"))
        if wish == "late-break":
            held(lb, known["one"], 1)
            in_loop(lb, known["one"].release)
        assert client.to_the_end() == b""
        assert lb.ask(GET)[2] == b"a"
        idle(lb, a)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("request_", [GET, post(b"x" * 2_000_000), post(b"x" * 2_000_000, chunked=True)])
def test_a_client_that_goes_away_ends_the_wait(known: Steps, place: str, request_: bytes) -> None:
    with recorders("a") as (a,), edge(stepped(place, limited(a.url))) as lb:
        assert lb.ask(GET)[2] == b"a"
        client = lb.client()
        head, end, body = asks("one=wait", request_).partition(b"\r\n\r\n")
        client.send(head + end + body[:1000])
        held(lb, known["one"], 1)
        client.close()
        eventually(lambda: known["one"].cancelled == 1, "the wait is ended")
        held(lb, known["one"], 0)
        idle(lb, a)
        assert lb.ask(GET)[2] == b"a"
        assert len(a.requests) == 2


@pytest.mark.parametrize("place", PLACES)
def test_a_wait_has_an_end(known: Steps, place: str) -> None:
    with recorders("a") as (a,), edge(stepped(place, limited(a.url))) as lb:
        known["one"].timeout_ms = 300
        begun = time.monotonic()
        first, _, text = lb.ask(asks("one=wait"))
        assert (first.split()[1], text) == ("504", b"late")
        assert time.monotonic() - begun >= 0.29  # the loop counts in milliseconds
        assert known["one"].expired == 1 and not known["one"].held
        idle(lb, a)
        assert lb.ask(GET)[2] == b"a"


@pytest.mark.parametrize("place", PLACES)
def test_the_deadline_of_the_entry_point_ends_the_wait(known: Steps, place: str) -> None:
    limits = {"transport": {"respondingTimeouts": {"writeTimeout": "300ms"}}}
    with recorders("a") as (a,), edge(stepped(place, limited(a.url)), **limits) as lb:
        assert lb.ask(asks("one=wait"))[0].split()[1] == "504"
        eventually(lambda: known["one"].cancelled == 1, "the wait is ended")
        idle(lb, a)


@pytest.mark.parametrize("place", PLACES)
def test_a_request_that_waits_finishes_by_the_configuration_it_came_by(known: Steps, place: str) -> None:
    with recorders("a", "b") as (a, b), edge(stepped(place, all=a.url)) as lb:
        client = sent(lb, asks("one=wait"))
        held(lb, known["one"], 1)
        lb.apply(config({}, all=b.url))
        assert lb.ask(GET)[2] == b"b"
        in_loop(lb, known["one"].release)
        assert client.message()[2] == b"a"
        assert client.ask(GET)[2] == b"b"


@pytest.mark.parametrize("place", PLACES)
def test_a_drain_waits_for_those_that_wait(known: Steps, place: str) -> None:
    with recorders("a") as (a,):
        with edge(stepped(place, all=a.url)) as lb:
            clients = [sent(lb, asks("one=wait"), stays=True) for _ in range(3)]
            held(lb, known["one"], 3)
            lb._loop.call_soon_threadsafe(lb._loop.call_later, 0.3, known["one"].release)
        assert [client.message()[2] for client in clients] == [b"a"] * 3


@pytest.mark.parametrize("place", PLACES)
def test_a_drain_that_is_over_ends_the_waits(known: Steps, place: str) -> None:
    limits = {"transport": {"lifeCycle": {"graceTimeOut": "300ms"}}}
    with recorders("a") as (a,):
        with edge(stepped(place, all=a.url), **limits) as lb:
            client = sent(lb, asks("one=wait"), stays=True)
            held(lb, known["one"], 1)
        assert client.to_the_end() == b""
    assert known["one"].cancelled == 1 and not known["one"].held


def test_a_request_that_waits_at_a_gate_holds_its_slot_until_it_is_answered(known: Steps) -> None:
    with recorders("a") as (a,), edge(stepped("service", limited(a.url))) as lb:
        first = sent(lb, asks("one=late-answer"))
        held(lb, known["one"], 1)
        second = sent(lb, GET)  # waits for the slot, in the queue
        slot = lb.proxy._publication.current.snapshot.slots.services["all@file"]  # type: ignore[union-attr]
        eventually(lambda: lb.proxy._region.queue_counters(slot).waiting == 1, "one waits for the slot")
        in_loop(lb, known["one"].release)
        assert first.message()[0].split()[1] == "403"
        assert second.message()[2] == b"a"
        idle(lb, a)
        assert lb.ask(asks("one=answer"))[0].split()[1] == "403"
        idle(lb, a)


def test_gates_that_two_attempts_have_in_common_are_passed_once_and_those_of_others_are_undone(known: Steps) -> None:
    body = os.urandom(50_000)
    with recorders("main", "spare") as (main, spare):
        main.answer = lambda first, headers, body: (503, b"no")
        failover = {"service": "m", "fallback": "s", "errors": {"status": ["503"]}}
        services = {
            "all": {"failover": failover, "middlewares": ["one"]},
            "m": {**two_servers(f"http://127.0.0.1:{free_port()}", main.url), "middlewares": ["two"]},
            "s": {"loadBalancer": {"servers": [{"url": spare.url}]}, "middlewares": ["three"]},
        }
        with edge(stepped("service", services)) as lb:
            for number in range(4):
                client = sent(lb, asks("one=wait,two=wait,three=wait", post(body)))
                for name in ("one", "two", "three"):
                    held(lb, known[name], 1)
                    in_loop(lb, known[name].release)
                first, headers, text = client.message()
                assert (first.split()[1], text) == ("200", b"spare")
                assert (headers["x-one"], headers["x-three"], "x-two" in headers) == ("2", "2", False)
                assert main.requests[number][1].get("x-two") == "passed"
                seen = spare.requests[number]
                assert ("x-one" in seen[1], "x-two" in seen[1], "x-three" in seen[1]) == (True, False, True)
                assert (main.requests[number][2], seen[2]) == (body, body)
            assert [known[name].passed for name in ("one", "two", "three")] == [4, 4, 4]


def test_no_gate_is_passed_on_the_way_to_no_server_but_the_answer_goes_out_through_them(known: Steps) -> None:
    services = {"all": {"loadBalancer": {"servers": []}}}
    with edge(stepped("service", services)) as lb:
        first, headers, _ = lb.ask(GET)
        assert (first.split()[1], headers["x-one"]) == ("503", "1")
        assert lb.ask(asks("one=answer"))[0].split()[1] == "403"


@pytest.mark.parametrize("place", PLACES)
def test_an_error_in_what_is_waited_for_keeps_neither_connection_nor_slot(known: Steps, place: str) -> None:
    with recorders("a") as (a,), edge(stepped(place, limited(a.url))) as lb:
        lb.ask(GET)
        client = sent(lb, asks("one=cancel-break"))
        held(lb, known["one"], 1)
        client.close()
        eventually(lambda: known["one"].cancelled == 1, "the wait is over")
        eventually(lambda: lb.open_connections == 0, "the connection is closed")
        idle(lb, a)
        assert lb.ask(GET)[2] == b"a"
