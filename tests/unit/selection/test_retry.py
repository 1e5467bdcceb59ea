"""Attempts at different servers, within a budget."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lbcore.selection import (
    P2C,
    InFlightLimit,
    NoServerError,
    OutlierDetector,
    Rendezvous,
    Retry,
    RetryBudget,
    SmoothWRR,
)


def served(retry: Retry[Any], fails: Any, error: type[BaseException] = ConnectionError) -> tuple[Any, list[Any]]:
    """The server that answered, and the servers that were tried."""
    asked: list[Any] = []
    for attempt in retry:
        with attempt as server:
            asked.append(server)
            assert attempt.server == server and attempt.number == len(asked) and attempt.tried == tuple(asked)
            if server in fails:
                raise error
            return server, asked
    raise AssertionError("neither an answer nor an error")


def test_no_server_is_asked_twice() -> None:
    lb = SmoothWRR({"a": 9, "b": 1, "c": 1})
    for _ in range(20):
        server, asked = served(Retry(lb), "ab")
        assert server == "c" and sorted(asked) == sorted(set(asked))
    with pytest.raises(ConnectionError):
        served(Retry(lb, attempts=2), "abc")
    with pytest.raises(ConnectionError):  # of the last attempt: no server is left
        served(Retry(lb, attempts=9), "abc")
    assert {lb.in_flight(server) for server in lb} == {0}
    assert served(Retry(lb, exclude="a", attempts=9), "b")[0] == "c"
    assert served(Retry(lb, accept=lambda s: s != "c"), "a")[0] == "b"


def test_by_key_the_next_choices_follow() -> None:
    lb = Rendezvous(["a", "b", "c", "d"])
    first, second, third = lb.pick_n("user", 3)
    assert served(Retry(lb, "user"), (first, second)) == (third, [first, second, third])


def test_what_is_retried_is_said() -> None:
    lb = SmoothWRR(["a", "b"])
    for retry_on in (OSError, (OSError, KeyError), lambda error: isinstance(error, OSError)):
        assert served(Retry(lb, retry_on=retry_on), "a")[0] == "b"
        with pytest.raises(ValueError):
            served(Retry(lb, retry_on=retry_on), "ab", ValueError)
    with pytest.raises(KeyboardInterrupt):
        served(Retry(lb), "ab", KeyboardInterrupt)
    with pytest.raises(NoServerError):
        served(Retry(SmoothWRR()), "")
    for wrong, error in (({"attempts": 0}, ValueError), ({"attempts": 1.5}, TypeError), ({"atempts": 3}, TypeError)):
        with pytest.raises(error):
            Retry(lb, **wrong)


def test_budgets_that_are_none_are_refused() -> None:
    for wrong, error in (((-1,), ValueError), (("x",), TypeError), ((0.1, True), TypeError)):
        with pytest.raises(error):
            RetryBudget(*wrong)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1])
def test_a_budget_that_would_bound_nothing_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite number"):
        RetryBudget(ratio=value)
    with pytest.raises(ValueError, match="finite number"):
        RetryBudget(reserve=value)


@pytest.mark.parametrize(
    "settings",
    [
        {"retry_on": "x"},
        {"retry_on": 5},
        {"retry_on": int},
        {"retry_on": (ConnectionError, 5)},
        {"budget": 0.2},
        {"accept": "a"},
        {"attempts": True},
    ],
)
def test_settings_of_other_types_are_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Retry(SmoothWRR(["a"]), **settings)


@pytest.mark.parametrize("selector", [None, "a", SmoothWRR, ["a"]])
def test_what_is_no_selector_is_refused(selector: Any) -> None:
    with pytest.raises(TypeError, match="a selector is needed"):
        Retry(selector)


def test_the_number_of_attempts_is_bounded_by_the_budget() -> None:
    lb, budget, attempts = SmoothWRR(["a", "b", "c"]), RetryBudget(ratio=0.1, reserve=5), 0
    for _ in range(1000):
        with pytest.raises(ConnectionError):
            for attempt in Retry(lb, budget=budget):
                with attempt:
                    attempts += 1
                    raise ConnectionError
    assert 1090 <= attempts <= 1106


def test_outcomes_reach_the_selector_and_nothing_is_held() -> None:
    lb = OutlierDetector(InFlightLimit(P2C(["a", "b"]), 1), consecutive_failures=2, max_ejection_percent=50)
    while not lb.ejected:
        served(Retry(lb), "b")
    assert lb.ejected == {"b": "consecutive failures"}
    for attempt in Retry(lb):
        assert lb.in_flight(attempt.server) == 1
        break  # without the block
    del attempt
    assert {lb.in_flight(server) for server in lb} == {0}
    assert len(list(Retry(lb))) == 1  # neither used nor left
    assert {lb.in_flight(server) for server in lb} == {0}


def test_in_tasks() -> None:
    async def run() -> list[str]:
        asked = []
        for attempt in Retry(SmoothWRR(["a", "b"])):
            async with attempt as server:
                asked.append(server)
                await asyncio.sleep(0)
                if len(asked) == 1:
                    raise TimeoutError
        return asked

    assert asyncio.run(run()) == ["a", "b"]
