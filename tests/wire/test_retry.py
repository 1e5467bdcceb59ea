"""retry: which attempts follow which, how many, and when."""

from __future__ import annotations

import os
import re
import time
from typing import Any

import pytest

from lbcore.config.middlewares.retry import Retry as Config
from lbcore.middleware.retry import Retry
from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.problems import errors_of
from tests.support.recorder import GET, Recorder, config, counters, mirrored, post, recorders
from tests.support.wire import Edge, edge


def retrying(*urls: str, **options: Any) -> dict[str, Any]:
    servers = {"loadBalancer": {"servers": [{"url": url} for url in urls]}}
    dynamic = config({"all": servers})
    dynamic["http"]["middlewares"] = {"again": {"retry": options}}
    dynamic["http"]["routers"]["all"]["middlewares"] = ["again"]
    return dynamic


def answers(server: Recorder, *statuses: int) -> None:
    left = list(statuses)
    server.answer = lambda *request: (left.pop(0) if left else 200, server.name)


def dead() -> str:
    return f"http://127.0.0.1:{free_port()}"


def status(answer: tuple[str, dict[str, str], bytes]) -> int:
    return int(answer[0].split()[1])


def test_as_many_attempts_as_are_allowed_and_other_servers_first() -> None:
    with recorders("a", "b") as (a, b), edge(retrying(a.url, b.url, attempts=3, status=["500-599"])) as lb:
        for server in (a, b):
            server.answer = lambda *request: (503, b"no")
        assert status(lb.ask(GET)) == 503
        assert sorted((len(a.requests), len(b.requests))) == [1, 2]
        answers(a, 503)
        answers(b)
        for _ in range(4):  # whichever comes first
            assert status(lb.ask(GET)) == 200
        assert sum(counters(lb, f"all@file|{server.url}").retries for server in (a, b)) == 3


@pytest.mark.parametrize("failure", ["down", "503"])
def test_further_attempts_leave_the_order_of_requests(failure: str) -> None:
    """Else all requests begin at a server that fails, if there is one more."""
    with recorders("a", "b") as servers:
        first = servers[0]
        first.answer = lambda *request: (503, b"no")
        if failure == "down":
            first.close()
        urls = [server.url for server in servers]
        with edge(retrying(*urls, attempts=2, status=["503"], budget={"ratio": 1})) as lb:
            for _ in range(10):
                assert lb.ask(GET)[2] == b"b"
            found = [counters(lb, f"all@file|{url}") for url in urls]
            assert [each.requests for each in found] == [5, 10]
            assert found[1].retries == 5


def test_further_attempts_have_an_order_of_their_own() -> None:
    with recorders("a", "b", "c") as servers:
        servers[0].answer = lambda *request: (503, b"no")
        with edge(retrying(*[server.url for server in servers], attempts=2, status=["503"])) as lb:
            for _ in range(12):
                assert status(lb.ask(GET)) == 200
            assert [len(server.requests) for server in servers] == [4, 6, 6]


def test_statuses_that_are_not_named_stand() -> None:
    with recorders("a") as (a,), edge(retrying(a.url, attempts=3, status=["503", "500-501"])) as lb:
        for given in (502, 404, 200):
            answers(a, given)
            assert status(lb.ask(GET)) == given
        answers(a, 503, 501, 200)
        assert status(lb.ask(GET)) == 200
        assert len(a.requests) == 6


@pytest.mark.parametrize(
    ("method", "body", "follows"),
    [
        ("GET", b"", True),
        ("PUT", b"x" * 1000, True),
        ("DELETE", b"", True),
        ("POST", b"", False),
        ("PATCH", b"x", False),
        ("LOCK", b"", False),
    ],
)
@pytest.mark.parametrize("also", [False, True])
def test_methods(method: str, body: bytes, follows: bool, also: bool) -> None:
    request = post(body).replace(b"POST", method.encode(), 1)
    with recorders("a") as (a,), edge(
        retrying(a.url, attempts=2, status=["503"], retryNonIdempotentMethod=also)
    ) as lb:
        answers(a, 503)
        assert status(lb.ask(request)) == (200 if follows or also else 503)
        assert {sent[2] for sent in a.requests} == {body}


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_are_kept_up_to_a_limit(chunked: bool) -> None:
    body = os.urandom(5000)
    request = post(body, chunked).replace(b"POST", b"PUT", 1)
    for limit, given in ((5000, 200), (4999, 503)):
        with recorders("a") as (a,), edge(
            retrying(a.url, attempts=2, status=["503"], maxRequestBodyBytes=limit)
        ) as lb:
            answers(a, 503)
            assert status(lb.ask(request)) == given
            assert {sent[2] for sent in a.requests} == {body}
            assert lb.proxy._region.body_memory == 0  # type: ignore[union-attr]


def test_servers_that_cannot_be_reached_are_not_tried_twice_before_all_were() -> None:
    with recorders("a") as (a,), edge(retrying(dead(), dead(), dead(), dead(), a.url, attempts=5)) as lb:
        for _ in range(10):
            assert lb.ask(post(b"x"))[2] == b"a"


def test_attempts_are_counted_all_together() -> None:
    url = dead()
    for options, made in (({"attempts": 4}, 4), ({"attempts": 1}, 1), ({}, 0)):
        if not options:
            options = {"attempts": 4, "disableRetryOnNetworkError": True, "status": ["599"]}
            made = 1
        with edge(retrying(url, **options)) as lb:
            assert status(lb.ask(GET)) == 502
            assert counters(lb, f"all@file|{url}").connect_errors == made


def test_the_only_server_is_tried_again_after_a_pause() -> None:
    url = dead()
    with edge(retrying(url, attempts=3, initialInterval="100ms")) as lb:
        begun = time.monotonic()
        assert status(lb.ask(GET)) == 502
        assert time.monotonic() - begun >= 0.05 + 0.07  # 100 and 141 ms, each spread by a half
        assert counters(lb, f"all@file|{url}").connect_errors == 3


def test_no_attempt_begins_after_the_timeout() -> None:
    url = dead()
    with edge(retrying(url, attempts=100, initialInterval="100ms", timeout="1500ms")) as lb:
        assert status(lb.ask(GET)) == 502
        assert 2 <= counters(lb, f"all@file|{url}").connect_errors <= 32
    with recorders("a") as (a,), edge(
        retrying(a.url, attempts=100, initialInterval="100ms", timeout="1500ms", status=["503"])
    ) as lb:
        a.answer = lambda *request: (503, b"no")
        assert status(lb.ask(GET)) == 503
        assert 2 <= len(a.requests) <= 32


def test_a_pause_that_ends_after_the_timeout_is_not_made() -> None:
    with edge(retrying(dead(), attempts=2, initialInterval="50s", timeout="5s")) as lb:
        assert status(lb.ask(GET)) == 502
    with (
        recorders("a") as (a,),
        edge(retrying(a.url, attempts=2, initialInterval="50s", timeout="5s", status=["503"])) as lb,
    ):
        answers(a, 503)
        assert status(lb.ask(GET)) == 503


def test_a_pause_that_ends_with_its_client_leaves_nothing_to_the_next_request() -> None:
    with recorders("a") as (a,):
        dynamic = retrying(a.url, attempts=2, initialInterval="60s", status=["503"])
        dynamic["http"]["routers"]["once"] = {"rule": "Path(`/once`)", "priority": 100, "service": "all"}
        with edge(dynamic) as lb:
            member = f"all@file|{a.url}"
            answers(a, 503)
            client = lb.client()
            client.send(GET)
            eventually(lambda: a.requests and counters(lb, member).in_flight == 0, "the retry pauses")
            client.close()
            eventually(lambda: lb.open_connections == 0, "the client has gone")
            assert status(lb.ask(GET.replace(b"/x", b"/once"))) == 200
            assert counters(lb, member).retries == 0


@pytest.mark.parametrize("order", [["again", "whole"], ["whole", "again"]])
def test_a_body_that_was_buffered_and_goes_to_mirrors_is_sent_once_more(order: list[str]) -> None:
    with recorders("main", "a") as (main, a):
        dynamic = retrying(attempts=2, status=["503"], retryNonIdempotentMethod=True)
        dynamic["http"]["middlewares"]["whole"] = {"buffering": {}}
        dynamic["http"]["routers"]["all"]["middlewares"] = order
        dynamic["http"]["services"] = config(mirrored(("a", 100)), main=main.url, a=a.url)["http"]["services"]
        with edge(dynamic) as lb:
            answers(main, 503)
            assert status(lb.ask(post(b"x" * 100_000))) == 200
            eventually(lambda: a.requests, "the copy")
        assert [len(request[2]) for request in main.requests + a.requests] == [100_000] * 3


def test_as_the_middleware_of_a_service_it_begins_once() -> None:
    with recorders("a") as (a,):
        dynamic = retrying(a.url, attempts=3, status=["503"])
        dynamic["http"]["services"]["all"]["middlewares"] = ["again"]
        dynamic["http"]["routers"]["all"]["middlewares"] = []
        with edge(dynamic) as lb:
            a.answer = lambda *request: (503, b"no")
            for request in (GET, post(b"x" * 100_000).replace(b"POST", b"PUT")):
                a.requests.clear()
                assert status(lb.ask(request)) == 503
                assert len(a.requests) == 3


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "incorrect (or empty) value for attempt (0)"),
        ({"attempts": -1}, "incorrect (or empty) value for attempt (-1)"),
        ({"attempts": 2, "disableRetryOnNetworkError": True}, "requires at least HTTP status codes"),
        ({"attempts": 2, "status": ["x"]}, "'x' is neither a status nor a range"),
    ],
)
def test_what_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        Retry("again@file", Config.model_validate(options))


def denied(lb: Edge) -> int:
    assert lb.proxy._region is not None
    return lb.proxy._region.retries_denied


def test_a_budget_is_a_share_of_the_requests_and_so_many_a_second() -> None:
    """The clock stands still: all is within one second."""
    for budget, further in (
        ({"ratio": 0.5, "minPerSecond": 0}, 20),
        ({"ratio": 0.0, "minPerSecond": 1}, 10),
        ({"ratio": 0.25, "minPerSecond": 1}, 20),
        ({"ratio": 0.0, "minPerSecond": 0}, 0),
        ({}, 40),
        ({"ratio": 0.0}, 40),
        ({"minPerSecond": 0}, 8),
    ):
        options = {"attempts": 2, "status": ["503"], "budget": budget}
        with recorders("a") as (a,), edge(retrying(a.url, **options)) as lb:
            lb.drive()
            a.answer = lambda *request: (503, b"no")
            client = lb.client()
            assert {status(client.ask(GET)) for _ in range(40)} == {503}
            assert len(a.requests) - 40 == further, budget
            assert denied(lb) == 40 - further
            assert counters(lb, f"all@file|{a.url}").retries == further


def test_a_budget_comes_back_and_outlives_a_reload() -> None:
    options = {"attempts": 3, "status": ["503"], "budget": {"ratio": 0.1, "minPerSecond": 0}}
    with recorders("a") as (a,), edge(retrying(a.url, **options)) as lb:
        lb.drive()
        client = lb.client()
        for _ in range(30):
            assert status(client.ask(GET)) == 200
        a.answer = lambda *request: (503, b"no")
        lb.apply(retrying(a.url, **options, retryNonIdempotentMethod=True))
        for _ in range(3):
            assert status(client.ask(GET)) == 503
        assert len(a.requests) == 33 + 3
        lb.drive(11_000)
        assert status(client.ask(GET)) == 503
        assert len(a.requests) == 33 + 3 + 1  # the requests of before count no more
        for _ in range(30):
            client.ask(GET)
        assert len(a.requests) - 67 == 3 and denied(lb) > 0


def test_servers_that_cannot_be_reached_cost_of_the_budget_and_what_is_not_made_does_not() -> None:
    with recorders("a") as (a,):
        gone = dead()
        budget = {"ratio": 0.0, "minPerSecond": 1}
        dynamic = retrying(gone, dead(), attempts=5, initialInterval="1h", timeout="1s", budget=budget)
        with edge(dynamic) as lb:
            lb.drive()
            client = lb.client()
            # The other server costs an attempt, then a pause would be too long: that one is given back.
            assert {status(client.ask(GET)) for _ in range(9)} == {502}
            assert denied(lb) == 0
            assert {status(client.ask(GET)) for _ in range(6)} == {502}
            assert denied(lb) == 6
        dynamic = retrying(gone, attempts=2, budget={"ratio": 0.0, "minPerSecond": 0})
        dynamic["http"]["services"]["main"] = dynamic["http"]["services"]["all"]
        dynamic["http"]["services"]["other"] = {"loadBalancer": {"servers": [{"url": a.url}]}}
        failover = {"service": "main", "fallback": "other", "errors": {"status": ["500-599"]}}
        dynamic["http"]["services"]["all"] = {"failover": failover}
        with edge(dynamic) as lb:
            assert lb.ask(GET)[2] == b"a"  # a fallback is no attempt of the middleware
            assert denied(lb) == 1


def test_a_budget_that_cannot_be() -> None:
    for budget, text in (({"ratio": -1}, "ratio"), ({"minPerSecond": -1}, "minPerSecond"), ({"ratio": "x"}, "ratio")):
        (error,) = errors_of({"retry": {"attempts": 2, "budget": budget}})
        assert text in error
