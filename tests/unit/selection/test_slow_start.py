"""Slow start against its formula, on a clock of the test's."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.selection import NoServerError, PanicThreshold, SlowStart, SmoothWRR, Tijdeman


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return self.now


def counted(lb: Any, count: int) -> Counter[Any]:
    return Counter(lb.pick() for _ in range(count))


@pytest.mark.parametrize(
    ("aggression", "age_s", "percent"),
    [(1, 0, 10), (1, 1, 10), (1, 15, 25), (1, 30, 50), (1, 60, 100), (2, 15, 50), (0.5, 30, 25), (2, 60, 100)],
)
def test_formula(aggression: float, age_s: float, percent: int) -> None:
    clock = Clock()
    lb = SlowStart(SmoothWRR({"old": 1}), 60.0, aggression, 10, clock)
    lb.add("new", 1)
    clock.now += age_s
    assert (lb.ramp("new"), lb.ramp("old")) == (percent, 100)
    assert lb.share("new") == pytest.approx(percent / (100 + percent))
    assert counted(lb, (100 + percent) * 2)["new"] == percent * 2
    assert lb["new"] == 1 and dict(lb) == {"old": 1, "new": 1}


@given(st.lists(st.integers(1, 1 << 30), min_size=1, max_size=6), st.integers(0, 25), st.integers(1, 100))
def test_shares_follow_the_formula_whatever_the_weights(weights: list[int], step: int, least: int) -> None:
    clock, age_s = Clock(), step * 1.5  # where the weight goes up
    lb = SlowStart(Tijdeman(dict(enumerate(weights))), 30.0, 1.5, least, clock)
    lb.add("new", 1 << 20)
    clock.now += age_s
    factor = max(least / 100, min(1, max(age_s, 0.001) / 30) ** (1 / 1.5))
    # Weights go by whole percents: the factor is off by half of one at most. Large weights are rounded besides.
    least_share, most_share = (
        (1 << 20) * each / (sum(weights) + (1 << 20) * each) for each in (factor - 0.005, factor + 0.005)
    )
    assert least_share * 0.9995 <= lb.share("new") <= most_share * 1.0005


def test_those_that_are_there_at_first_have_come_before() -> None:
    lb = SlowStart(SmoothWRR({"a": 5, "b": 1, "c": 1}), clock=Clock())
    assert "".join(lb.pick() for _ in range(14)) == "aabacaa" * 2


@pytest.mark.parametrize("how", ["up", "weight", "added again"])
def test_a_new_server_ramps_up(how: str) -> None:
    clock = Clock()
    lb = SlowStart(SmoothWRR({"a": 1, "b": 1}), window_s=10.0, clock=clock)
    if how == "up":
        lb.set_up("b", False)
        clock.now += 100
        assert lb.ramp("b") == 0 and lb.share("b") == 0.0
        lb.selector.set_up("b")  # at the selector within: the wrapper sees it
    elif how == "weight":
        lb["b"] = 0
        lb["b"] = 1
    else:
        del lb["b"]
        lb.add("b")
    assert lb.ramp("b") == 10
    assert counted(lb, 110) == {"a": 100, "b": 10}
    clock.now += 10
    assert counted(lb, 100) == {"a": 50, "b": 50}


def test_a_change_of_weight_does_not_start_a_ramp() -> None:
    lb = SlowStart(SmoothWRR({"a": 1, "b": 1}), clock=Clock())
    lb.set_weight("b", 3)
    assert lb.ramp("b") == 100 and counted(lb, 40)["b"] == 30


def test_the_order_is_built_twenty_times_in_a_window_and_then_no_more() -> None:
    clock = Clock()
    lb = SlowStart(SmoothWRR(["a"]), window_s=20.0, clock=clock)
    for number in range(5):
        lb.add(f"new-{number}")
    shares = set()
    for _ in range(30_000):
        clock.now += 0.001
        lb.pick()
        shares.add(lb.share("new-0"))
    assert 15 < len(shares) <= 21
    asked = clock.asked
    counted(lb, 1000)
    assert clock.asked == asked  # no server ramps up, so the clock is not read


def test_accept_leases_and_many() -> None:
    clock = Clock()
    lb = SlowStart(SmoothWRR({"a": 1}), clock=clock)
    lb.add("b")
    assert lb.pick(exclude={"a"}) == "b" and lb.pick(accept=lambda server: server == "b") == "b"
    assert sorted(lb.pick_n(n=2)) == ["a", "b"]
    with lb.lease(exclude="a") as server:
        assert server == "b" and lb.in_flight("b") == 1
    assert Counter(lb.pick_many(110))[1] == 10
    lb.report("b", latency_s=0.1)
    with pytest.raises(NoServerError):
        SlowStart(SmoothWRR()).pick()


def test_state_copy_and_pickle_go_on_with_the_ramp() -> None:
    clock = Clock()
    lb = PanicThreshold(SlowStart(SmoothWRR({"a": 2, "b": 1}, seed=5), clock=clock), 10)
    lb.add("new", 2)
    clock.now += 12
    counted(lb, 17)
    twin = PanicThreshold(SlowStart(SmoothWRR(seed=5), clock=clock), 10)
    twin.restore(json.loads(json.dumps(lb.state())))
    picks = [copy.copy(lb).pick() for _ in range(1)] and [lb.pick() for _ in range(400)]
    assert [twin.pick() for _ in range(400)] == picks
    assert twin == lb and twin.selector == lb.selector and copy.copy(lb) == lb == copy.deepcopy(lb)
    other = pickle.loads(pickle.dumps(SlowStart(SmoothWRR({"a": 2}))))
    assert other == SlowStart(SmoothWRR({"a": 2})) and other != SlowStart(SmoothWRR({"a": 2}), 5)
    assert repr(other).startswith("SlowStart(SmoothWRR({'a': 2}), window_s=30.0")
    with pytest.raises(ValueError):
        other.restore(lb.state())


def test_what_is_wrong_is_refused() -> None:
    for arguments in ((0,), (-1,), (math.inf,), (30, 0), (30, 1, 0), (30, 1, 101)):
        with pytest.raises(ValueError):
            SlowStart(SmoothWRR(["a", "b"]), *arguments)
    with pytest.raises(TypeError):
        SlowStart({"a": 1})  # type: ignore[arg-type]
    lb = SmoothWRR(["a", "b"])
    SlowStart(lb)
    with pytest.raises(ValueError, match="another wrapper"):
        SlowStart(lb)
