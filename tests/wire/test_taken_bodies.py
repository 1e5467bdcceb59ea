"""Bodies that a middleware of a service has taken: whoever is asked next gets them whole, and nobody twice."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.recorder import Recorder, config, post, recorders
from tests.support.wire import TIMEOUT_S, Peer, edge, serving

WHOLE = {"buffering": {"retryExpression": "IsNetworkError() && Attempts() < 2"}}
REQUEST = b"GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n"


def balanced(*servers: str, **more: Any) -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": url} for url in servers]}, **more}


def failing_over(main: str = "main", spare: str = "spare") -> dict[str, Any]:
    return {"failover": {"service": main, "fallback": spare, "errors": {"status": ["503"]}}}


def with_middlewares(services: dict[str, Any], *router: str, **more: Any) -> dict[str, Any]:
    dynamic = config(services)
    again = {"retry": {"attempts": 2, "status": ["503"], "retryNonIdempotentMethod": True}}
    dynamic["http"]["middlewares"] = {"whole": WHOLE, "web": {"grpcWeb": {}}, "again": again, **more}
    dynamic["http"]["routers"]["all"]["middlewares"] = list(router)
    return dynamic


@pytest.fixture
def servers() -> Any:
    with recorders("main", "spare") as found:
        found[0].answer = lambda *request: (503, b"no")
        yield found


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("router", [(), ("whole",), ("again",)])
@pytest.mark.parametrize("place", ["main", "spare", "around", "both"])
def test_the_fallback_gets_it(servers: list[Recorder], place: str, router: tuple[str, ...], chunked: bool) -> None:
    main, spare = servers
    body = os.urandom(300_000)
    gated = {"middlewares": ["whole"]}
    services = {
        "main": balanced(main.url, **(gated if place in ("main", "both") else {})),
        "spare": balanced(spare.url, **(gated if place in ("spare", "both") else {})),
        "inner": failing_over(),
        "all": {"weighted": {"services": [{"name": "inner"}]}, **(gated if place == "around" else {})},
    }
    with edge(with_middlewares(services, *router)) as lb:
        client = lb.client()
        for _ in range(2):
            assert client.ask(post(body, chunked))[2] == b"spare"
    assert {seen[2] == body for seen in main.requests + spare.requests} == {True}
    assert len(spare.requests) == 2


@pytest.mark.parametrize("router", [(), ("whole",), ("again",)])
def test_nothing_of_it_comes_twice(servers: list[Recorder], router: tuple[str, ...]) -> None:
    """What came once more would be the next request of the connection."""
    main, spare = servers
    services = {
        "main": balanced(main.url, middlewares=["whole"]),
        "spare": balanced(spare.url, middlewares=["whole"]),
        "all": failing_over(),
    }
    with edge(with_middlewares(services, *router)) as lb:
        for _ in range(3):
            assert lb.ask(post(REQUEST * 10))[2] == b"spare"
        assert {seen[0] for seen in main.requests + spare.requests} == {"POST /x HTTP/1.1"}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("gates", [["whole"], []])
def test_a_service_gets_it_that_is_asked_for_one_that_cannot_be_reached(
    servers: list[Recorder], gates: list[str], chunked: bool
) -> None:
    _, spare = servers
    body = os.urandom(300_000)
    services = {
        "main": balanced(f"http://127.0.0.1:{free_port()}", middlewares=["whole"]),
        "spare": balanced(spare.url, middlewares=gates),
        "all": {"weighted": {"services": [{"name": "main", "weight": 1000}, {"name": "spare", "weight": 1}]}},
    }
    with edge(with_middlewares(services)) as lb:
        for _ in range(2):
            assert lb.ask(post(body, chunked))[2] == b"spare"
    assert [seen[2] == body for seen in spare.requests] == [True] * 2


@pytest.mark.parametrize("chunked", [False, True])
def test_one_that_another_filter_has_changed_is_not_sent_to_a_service_without_that(
    servers: list[Recorder], chunked: bool
) -> None:
    """The answer is that of the service which has got it."""
    main, spare = servers
    fields = b"\r\nContent-Type: application/grpc-web-text\r\n\r\n"
    services = {
        "main": balanced(main.url, middlewares=["web", "whole"]),
        "spare": balanced(spare.url),
        "all": failing_over(),
    }
    with edge(with_middlewares(services)) as lb:
        first, _, _ = lb.ask(post(b"eHl6" * 1000, chunked).replace(b"\r\n\r\n", fields, 1))
        assert first.split()[1] == "503"
        assert [seen[2] for seen in main.requests] == [b"xyz" * 1000]
        assert spare.requests == []


@pytest.mark.parametrize("gates", [["whole"], []])
def test_one_that_is_gone_is_answered_for(servers: list[Recorder], gates: list[str]) -> None:
    """It was changed for a service that cannot be reached."""
    _, spare = servers
    fields = b"\r\nContent-Type: application/grpc-web-text\r\n\r\n"
    services = {
        "main": balanced(f"http://127.0.0.1:{free_port()}", middlewares=["web", "whole"]),
        "spare": balanced(spare.url, middlewares=gates),
        "all": {"weighted": {"services": [{"name": "main", "weight": 1000}, {"name": "spare", "weight": 1}]}},
    }
    with edge(with_middlewares(services)) as lb:
        for _ in range(2):
            assert lb.ask(post(b"eHl6" * 1000).replace(b"\r\n\r\n", fields, 1))[0].split()[1] == "502"
        assert spare.requests == []


def test_what_has_come_before_it_is_taken_comes_first(servers: list[Recorder]) -> None:
    """The main service answers before the body is complete; the fallback takes what was kept of it, then the rest."""
    _, spare = servers
    body, go_on = os.urandom(300_000), threading.Event()

    def early(peer: Peer) -> None:
        peer.head()
        peer.exactly(1000)
        peer.send(b"HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\nno")
        go_on.set()
        peer.to_the_end()

    with serving(early) as main:
        services = {
            "main": balanced(main.url),
            "spare": balanced(spare.url, middlewares=["whole"]),
            "all": failing_over(),
        }
        with edge(with_middlewares(services)) as lb:
            client = lb.client()
            request = post(body)
            client.send(request[:100_000])
            assert go_on.wait(TIMEOUT_S)
            lb.settle()
            client.send(request[100_000:])
            assert client.message()[2] == b"spare"
            assert [seen[2] == body for seen in spare.requests] == [True]


@pytest.mark.parametrize("router", [(), ("again",)])
def test_copies_get_it(servers: list[Recorder], router: tuple[str, ...]) -> None:
    main, spare = servers
    main.answer = lambda *request: (200, b"main")
    body = os.urandom(100_000)
    services = {
        "main": balanced(main.url, middlewares=["whole"]),
        "spare": balanced(spare.url),
        "all": {"mirroring": {"service": "main", "mirrors": [{"name": "spare", "percent": 100}]}},
    }
    with edge(with_middlewares(services, *router)) as lb:
        assert lb.ask(post(body))[2] == b"main"
        eventually(lambda: spare.requests, "the copy has come")
        assert spare.requests[0][2] == body


def test_a_copy_has_attempts_as_well(servers: list[Recorder]) -> None:
    """Its body is lbcore's own, and begins anew where no filter has it."""
    main, spare = servers
    body = os.urandom(100_000)
    with recorders("front") as (front,):
        services = {
            "front": balanced(front.url),
            "main": balanced(main.url, middlewares=["whole"]),
            "spare": balanced(spare.url, middlewares=["whole"]),
            "copies": failing_over(),
            "all": {"mirroring": {"service": "front", "mirrors": [{"name": "copies", "percent": 100}]}},
        }
        with edge(with_middlewares(services)) as lb:
            assert lb.ask(post(body))[2] == b"front"
            eventually(lambda: spare.requests, "the copy has come")
            assert [seen[2] == body for seen in main.requests + spare.requests] == [True] * 2
