"""circuitBreaker: when it trips, what is answered then, and how it recovers; over workers and reloads."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.config.middlewares.circuit_breaker import CircuitBreaker as Config
from lbcore.middleware.circuit_breaker import CircuitBreaker
from tests.support.ports import free_port
from tests.support.recorder import GET, Recorder, recorders, through
from tests.support.wire import Peer, edge

RATIO = "ResponseCodeRatio(500, 600, 0, 600) > 0.5"


def breaking(url: str, expression: str = RATIO, **options: Any) -> dict[str, Any]:
    return through(url, {"circuitBreaker": {"expression": expression, **options}})


def answer(server: Recorder, status: int) -> None:
    server.answer = lambda *request: (status, b"own")


def status(client: Peer) -> int:
    return int(client.ask(GET)[0].split()[1])


def trip(client: Peer, server: Recorder) -> None:
    """Have the server fail until requests are refused, then be well again."""
    answer(server, 500)
    assert status(client) == 500
    assert status(client) == 503
    answer(server, 200)


def test_it_refuses_for_a_time_then_lets_more_and_more_pass() -> None:
    with recorders("a") as (a,), edge(breaking(a.url)) as lb:
        lb.drive()
        client = lb.client()
        answer(a, 200)
        assert status(client) == 200
        lb.drive(11_000)  # forgotten
        answer(a, 500)
        assert status(client) == 500
        answer(a, 200)
        first, headers, text = client.ask(GET)
        assert (first.split()[1], text, "content-type" in headers) == ("503", b"Service Unavailable", False)
        lb.drive(9_990)
        asked = len(a.requests)
        assert status(client) == 503
        assert len(a.requests) == asked
        lb.drive(11)  # recovers for 10 s
        passed = []
        for _ in range(10):
            passed.append([status(client) for _ in range(20)].count(200))
            lb.drive(1000)
        assert passed[0] == 0 and passed[-1] > 0
        assert 20 < sum(passed) <= 100  # up to a half of all
        assert sum(passed[5:]) > 2 * sum(passed[:5])
        lb.drive(10)
        assert [status(client) for _ in range(20)] == [200] * 20


def test_it_trips_again_while_it_recovers() -> None:
    with recorders("a") as (a,), edge(breaking(a.url, fallbackDuration="1s", recoveryDuration="1s")) as lb:
        lb.drive()
        client = lb.client()
        trip(client, a)
        lb.drive(1001)
        answer(a, 500)
        assert status(client) == 503  # recovers from now on
        lb.drive(999)
        assert 500 in [status(client) for _ in range(20)]
        assert status(client) == 503
        lb.drive(999)
        assert status(client) == 503
        lb.drive(2)
        assert status(client) == 503  # recovers again
        answer(a, 200)
        lb.drive(1001)
        assert status(client) == 200


def test_options() -> None:
    with recorders("a") as (a,), edge(breaking(a.url, responseCode=418, checkPeriod="10s")) as lb:
        lb.drive()
        client = lb.client()
        answer(a, 200)
        assert status(client) == 200  # looks at the condition
        answer(a, 500)
        for _ in range(5):
            lb.drive(1999)
            assert status(client) == 500
        lb.drive(10)
        assert status(client) == 500
        first, _, text = client.ask(GET)
        assert (first.split()[1], text) == ("418", b"I'm a teapot")


@pytest.mark.parametrize(
    ("expression", "given", "trips"),
    [
        ("ResponseCodeRatio(400, 500, 0, 600) >= 1.0", 404, True),
        ("ResponseCodeRatio(400, 404, 0, 600) > 0.0", 404, False),
        ("ResponseCodeRatio(0, 600, 500, 600) > 0.0", 404, False),
        ("NetworkErrorRatio() > 0.0", 500, False),
        ("NetworkErrorRatio() > 0.0", 502, True),
        ("NetworkErrorRatio() > 0.0", 504, True),
        ("NetworkErrorRatio() > 0.0 || ResponseCodeRatio(500, 501, 0, 600) == 1.0", 500, True),
        ("!(ResponseCodeRatio(500, 501, 0, 600) < 1.0) && NetworkErrorRatio() == 0.0", 500, True),
    ],
)
def test_expressions(expression: str, given: int, trips: bool) -> None:
    with recorders("a") as (a,), edge(breaking(a.url, expression)) as lb:
        client = lb.client()
        answer(a, given)
        assert status(client) == given
        assert status(client) == (503 if trips else given)


def test_servers_that_cannot_be_reached() -> None:
    with edge(breaking(f"http://127.0.0.1:{free_port()}", "NetworkErrorRatio() > 0.5")) as lb:
        client = lb.client()
        assert [status(client) for _ in range(2)] == [502, 503]


def test_latencies() -> None:
    with recorders("a") as (a,), edge(breaking(a.url, "LatencyAtQuantileMS(50.0) > 100")) as lb:
        lb.drive()
        client = lb.client()
        for _ in range(2):
            assert status(client) == 200

        def slow(*request: Any) -> tuple[int, bytes]:
            lb.drive(200)
            return 200, b"slow"

        a.answer = slow
        lb.drive(101)
        assert status(client) == 200  # two were fast, one is slow
        assert status(client) == 200
        assert status(client) == 200
        assert status(client) == 503


def test_latencies_are_remembered_for_a_minute() -> None:
    with recorders("a") as (a,), edge(breaking(a.url, "LatencyAtQuantileMS(99.0) > 100", checkPeriod="20s")) as lb:
        lb.drive()
        client = lb.client()
        assert status(client) == 200

        def slow(*request: Any) -> tuple[int, bytes]:
            lb.drive(200)
            return 200, b"slow"

        a.answer = slow
        assert status(client) == 200
        a.answer = lambda *request: (200, b"fast")
        lb.drive(70_000)
        assert [status(client) for _ in range(3)] == [200] * 3  # forgotten
        lb.drive(21_000)
        a.answer = slow
        assert [status(client) for _ in range(2)] == [200, 503]


def test_each_router_has_its_own_and_reloads_change_nothing() -> None:
    with recorders("a") as (a,):
        dynamic = breaking(a.url)
        other = {**dynamic["http"]["routers"]["all"], "rule": "PathPrefix(`/other`)"}
        dynamic["http"]["routers"]["other"] = other
        with edge(dynamic) as lb:
            client = lb.client()
            answer(a, 500)
            assert [status(client) for _ in range(2)] == [500, 503]
            elsewhere = GET.replace(b"/x", b"/other")
            assert client.ask(elsewhere)[0].split()[1] == "500"
            dynamic["http"]["routers"]["third"] = {**other, "rule": "PathPrefix(`/third`)"}
            lb.apply(dynamic)
            assert status(client) == 503
            assert client.ask(elsewhere)[0].split()[1] == "503"
            assert client.ask(GET.replace(b"/x", b"/third"))[0].split()[1] == "500"


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "lacks a value"),
        ("NetworkErrorRatio()", "not a condition"),
        ("ResponseCodeRatio(500, 600) > 0.5", "other arguments"),
        ("Latency() > 1", "unknown function"),
        (" || ".join(f"ResponseCodeRatio({code}, 600, 0, 600) > 0.5" for code in range(500, 509)), "more than 8"),
    ],
)
def test_what_is_refused(expression: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        CircuitBreaker("breaker@file", Config.model_validate({"expression": expression}))
