"""Selectors that go by load and by latency, and what each of them is for, in simulated time."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import pairwise
from math import exp
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.selection import P2C, LeastConnections, LeastTime, PeakEWMA, Prequal, RandomWeighted, Selector, SmoothWRR
from tests.unit.selection.simulation import Fleet, quantile

TIMED: list[Any] = [LeastTime, PeakEWMA]


def leases_at(lb: Selector[Any], server: Any, count: int) -> list[Any]:
    return [lb.lease(accept=lambda other: other == server) for _ in range(count)]


# Least connections


def test_least_connections_vector() -> None:
    lb = LeastConnections({"a": 2, "b": 1})
    leases = [lb.lease() for _ in range(12)]
    assert "".join(lease.server for lease in leases) == "abaaababaaab"


@given(
    loads=st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 5)), min_size=1, max_size=9).filter(
        lambda loads: any(weight for weight, _ in loads)
    )
)
def test_least_connections_takes_the_least_whatever_the_weights(loads: list[tuple[int, int]]) -> None:
    lb = LeastConnections({number: weight for number, (weight, _) in enumerate(loads)})
    leases = [leases_at(lb, n, count) for n, (weight, count) in enumerate(loads) if weight]
    costs = {n: Fraction(count + 1 if count else 0, weight) for n, (weight, count) in enumerate(loads) if weight}
    for _ in range(3):
        assert costs[lb.pick()] == min(costs.values())
    del leases


@pytest.mark.parametrize("kind", [LeastConnections, LeastTime])
def test_equals_take_turns(kind: Any) -> None:
    lb = kind(range(5))
    assert Counter(lb.pick() for _ in range(50)) == dict.fromkeys(range(5), 10)


def test_the_fullest_is_as_full_as_weights_ask_for() -> None:
    lb = LeastConnections({"a": 4, "b": 2, "c": 1, "d": 0})
    leases = [lb.lease() for _ in range(700)]
    counts = Counter(lease.server for lease in leases)
    assert abs(counts["a"] - 400) <= 2 and abs(counts["b"] - 200) <= 2 and counts["d"] == 0


@pytest.mark.parametrize("kind", [LeastConnections, LeastTime])
def test_a_sample_bounds_the_servers_compared_and_reaches_all_of_them(kind: Any) -> None:
    lb = kind(range(1000), sample=2)
    leases = [lb.lease() for _ in range(4000)]
    counts = Counter(lease.server for lease in leases)
    assert len(counts) > 990 and max(counts.values()) <= 9
    lone = kind(dict.fromkeys(range(100), 1), sample=4)
    assert lone.pick(exclude=range(99)) == 99
    with pytest.raises(ValueError):
        kind(sample=0)
    with pytest.raises(TypeError):
        kind(sample=1.5)


# Latency


@pytest.mark.parametrize("kind", TIMED)
def test_settings_are_checked_and_kept(kind: Any) -> None:
    name = "decay_s" if kind is PeakEWMA else "keep_s"
    lb = kind(["a", "b"], failure_s=2, **{name: 3.5})
    assert f"{name}=3.5" in repr(lb) and lb != kind(["a", "b"])
    for wrong in (0, -1, 1e9, float("nan")):
        with pytest.raises(ValueError):
            kind(["a", "b"], **{name: wrong})
    with pytest.raises(TypeError):
        kind(["a", "b"], failure_s="1")
    with pytest.raises(ValueError):
        lb.set_time(-1.0)


def test_peak_ewma_vector() -> None:
    lb = PeakEWMA(["a"])
    found = []
    for at_s, latency_s in ((0, 0.1), (1, 0.5), (11, 0.1)):
        lb.set_time(at_s)
        lb.report("a", latency_s=latency_s)
        found.append(lb.latency_s("a"))
    assert found[:2] == [0.1, 0.5] and found[2] == pytest.approx(0.1 + 0.4 / exp(1), rel=3e-6)


@given(age_s=st.floats(0, 200), tau_s=st.floats(0.001, 100), latency_s=st.floats(0.0001, 100))
def test_the_decay_is_exponential(age_s: float, tau_s: float, latency_s: float) -> None:
    lb = PeakEWMA(["a"], decay_s=tau_s)
    lb.set_time(0)
    lb.report("a", latency_s=latency_s)
    lb.set_time(age_s)
    assert lb.latency_s("a") == pytest.approx(latency_s * exp(-age_s / tau_s), rel=1e-5, abs=2e-9)


def test_least_time_vector() -> None:
    lb = LeastTime(["a", "b"])
    lb.set_time(0)
    lb.report("a", latency_s=0.1)
    lb.report("b", latency_s=0.2)
    leases = [lb.lease() for _ in range(12)]
    assert "".join(lease.server for lease in leases) == "abaaababaaab"


@pytest.mark.parametrize("kind", TIMED)
def test_a_cold_server_is_tried_at_once_by_one_request_at_a_time(kind: Any) -> None:
    lb = kind(["a", "b"])
    lb.set_time(0)
    lb.report("a", latency_s=0.01)
    lease = leases_at(lb, "b", 1)
    assert {lb.pick() for _ in range(50)} == {"a"}
    del lease
    assert {lb.pick() for _ in range(50)} == {"b"}


@pytest.mark.parametrize("kind", TIMED)
def test_a_server_that_was_slow_is_tried_again(kind: Any) -> None:
    lb = kind(["a", "b"])
    lb.set_time(0)
    lb.report("a", latency_s=1)
    for second in range(200):
        lb.set_time(second)
        lb.report("b", latency_s=0.05)
        if lb.pick() == "a":
            break
    assert 6 < second < 10


@pytest.mark.parametrize("kind", [LeastTime, PeakEWMA])
@pytest.mark.parametrize("usual_s", [0.01, 20.0])
def test_a_server_that_only_fails_and_fast_is_not_drawn_to(kind: Any, usual_s: float) -> None:
    """In Traefik such a server has no latency at all, and gets 29 of 30 requests."""
    named = {"decay_s" if kind is PeakEWMA else "keep_s": max(10, 15 * usual_s)}
    lb = kind(["good", "bad", "fine"], seed=1, **named)
    fleet = Fleet(lb, lambda s, now: 0.001 if s == "bad" else usual_s, ok=lambda s, now: s != "bad")
    fleet.run(seconds=3000 * usual_s, rate=0.8 / usual_s, seed=2)
    assert fleet.picked["bad"] < 0.12 * sum(fleet.picked.values())
    assert abs(fleet.picked["good"] - fleet.picked["fine"]) < 0.4 * fleet.picked["good"]


@pytest.mark.parametrize("kind", [LeastTime, PeakEWMA])
def test_one_that_recovers_gets_its_share_again(kind: Any) -> None:
    lb = kind(range(4), seed=3)
    fleet = Fleet(lb, lambda s, now: 0.01, ok=lambda s, now: s != 0 or now > 20)
    fleet.run(seconds=20, rate=150, seed=4)
    assert fleet.picked[0] < 0.05 * sum(fleet.picked.values())
    fleet.run(seconds=300, rate=150, seed=5, begin_s=21)
    assert fleet.picked[0] > 0.15 * sum(fleet.picked.values())


def test_averages_stay_with_their_servers_over_changes() -> None:
    lb = LeastTime(["a", "b", "c"])
    lb.set_time(0)
    for server, latency_s in (("a", 0.1), ("b", 0.2), ("c", 0.3)):
        lb.report(server, latency_s=latency_s)
    lb.remove("a")
    lb.set_weight("c", 4)
    assert [lb.latency_s(server) for server in ("b", "c")] == pytest.approx([0.2, 0.3])
    assert lb.pick() == "c"
    lb.add("a")
    assert lb.latency_s("a") is None


# Prequal


def test_prequal_vector() -> None:
    lb = Prequal(["a", "b", "c"])
    lb.set_time(0)
    lb.probe("a", 1, 0.03)
    lb.probe("b", 2, 0.02)
    lb.probe("c", 9, 0.01)
    assert lb.pick() == "b"


def test_prequal_of_hot_servers_the_one_with_the_fewest_in_flight() -> None:
    lb = Prequal(["a", "b", "c"], quantile=0)
    lb.set_time(0)
    for server, in_flight, latency_s in (("a", 5, 0.001), ("b", 4, 0.5), ("c", 9, 0.01)):
        lb.probe(server, in_flight, latency_s)
    assert lb.pick() == "b"


def test_prequal_probes_are_dropped_by_age_and_below_two_picks_are_random() -> None:
    lb = Prequal(range(10), removals_per_pick=0)
    lb.set_time(0)
    lb.probe(3, 0, 0.01)
    assert len({lb.pick() for _ in range(100)}) > 5
    lb.probe(4, 0, 0.02)
    assert {lb.pick() for _ in range(3)} <= {3, 4}
    lb.set_time(1.5)
    assert lb.pool() == [] and len({lb.pick() for _ in range(100)}) > 5


def test_prequal_budget_of_a_probe() -> None:
    """b = (1 + 1) / ((1 - 16/64) * 3 - 1) = 1.6 picks on average: one or two."""
    lb = Prequal(range(64), removals_per_pick=1.0, max_age_s=100)
    lb.set_time(0)
    uses = Counter[int]()
    for _ in range(400):
        lb.probe(0, 0, 0.001)
        uses[lb.state()["probes"][-1][4]] += 1
    assert set(uses) == {1, 2} and abs(uses[2] / 400 - 0.6) < 0.1
    few = Prequal(range(8))  # fewer servers than probes: the formula has no bound, age has
    few.probe(0, 0, 0.001)
    assert few.state()["probes"][0][4] == 1 << 20


def test_prequal_removes_the_oldest_and_the_worst_in_turn() -> None:
    lb = Prequal(["a", "b", "c", "d", "e", "f"], max_age_s=100)
    lb.set_time(0)
    for number, server in enumerate("abcdef"):
        lb.probe(server, 50 if server == "e" else 1, 0.01 * (1 + number))
    assert lb.pick() == "a"
    assert [server for server, _, _ in lb.pool()] == list("bcdef")
    lb.pick()
    assert [server for server, _, _ in lb.pool()] == list("bcdf")


def test_prequal_asks_for_as_many_probes_as_picks_want() -> None:
    lb = Prequal(range(100), probes_per_pick=0.5)
    assert len(set(lb.to_probe())) == 16 and lb.to_probe() == []
    for _ in range(6):
        lb.pick()
    assert len(lb.to_probe()) == 3
    assert sorted(Prequal({"a": 1 << 30, "b": 1, "c": 0}).to_probe()) == ["a", "b"]
    assert Prequal().to_probe() == []


def test_prequal_a_failure_a_removal_or_a_closed_server_takes_its_probe_out() -> None:
    lb = Prequal(["a", "b", "c", "d"])
    for server in "abcd":
        lb.probe(server, 1, 0.01)
    lb.report("b", ok=False)
    lb.remove("a")
    lb.set_up("d", False)
    assert [server for server, _, _ in lb.pool()] == ["c"]
    lb.probe("d", 1, 0.01)
    assert len(lb.pool()) == 1
    for wrong in ((-1, 0.1), (1, -0.1)):
        with pytest.raises(ValueError):
            lb.probe("c", *wrong)
    with pytest.raises(KeyError):
        lb.probe("x", 1, 0.1)
    for named in ({"pool": 1}, {"pool": 999}, {"quantile": 2}, {"probes_per_pick": -1}):
        with pytest.raises(ValueError):
            Prequal(["a", "b"], **named)  # type: ignore[arg-type]


# What they are for


def p99(lb: Any, slow: float, rate: float) -> float:
    """20 servers of 10 ms, one of which takes `slow` times as long, in seconds."""
    fleet = Fleet(lb, lambda server, now: 0.01 * (slow if server == 0 else 1))
    return quantile(fleet.run(seconds=60, rate=rate, seed=11), 0.99)


@pytest.mark.parametrize("kind", [P2C, LeastConnections, LeastTime, PeakEWMA, Prequal])
def test_with_one_slow_server_going_by_load_or_latency_beats_round_robin(kind: Any) -> None:
    robin = p99(SmoothWRR(range(20)), slow=5, rate=800)
    assert p99(kind(range(20)), slow=5, rate=800) < 0.4 * robin


@pytest.mark.parametrize("kind", [PeakEWMA, Prequal])
def test_only_latency_reveals_a_server_that_is_slow_at_low_load(kind: Any) -> None:
    """A fifth of capacity: no requests queue, so requests in flight say little."""
    blind = p99(RandomWeighted(range(20)), slow=20, rate=80)
    by_load = p99(P2C(range(20)), slow=20, rate=80)
    assert p99(kind(range(20)), slow=20, rate=80) < min(0.5 * blind, 0.8 * by_load)


def test_the_same_seed_is_the_same_simulation() -> None:
    for kind in (PeakEWMA, Prequal, LeastTime, P2C):
        assert p99(kind(range(20), seed=4), 5, 200) == p99(kind(range(20), seed=4), 5, 200)


# Every server is asked


@pytest.mark.parametrize("kind", [LeastTime, PeakEWMA])
@pytest.mark.parametrize("count", [2, 5, 30])
def test_every_server_is_asked_once_in_ten_seconds(kind: Any, count: int) -> None:
    """One is slow once, then the fastest; the others are not; 20 requests a second."""
    lb = kind(range(count), seed=7)
    asked = dict.fromkeys(range(count), 0.0)
    ends: list[tuple[float, Any, float]] = []
    gaps: list[float] = []
    slow = True
    for tick in range(20 * 120):
        now = tick / 20
        for end in [each for each in ends if each[0] <= now]:
            ends.remove(end)
            lb.set_time(end[0])
            end[1].end(latency_s=end[2])
        lb.set_time(now)
        lease = lb.lease()
        gaps.append(now - asked[lease.server])
        asked[lease.server] = now
        latency_s = 0.02
        if lease.server == 0:
            latency_s, slow = (0.4, False) if slow else (0.001, False)
        ends.append((now + latency_s, lease, latency_s))
    assert max([*gaps, *(119.95 - at for at in asked.values())]) <= 10


@pytest.mark.parametrize("kind", [LeastTime, PeakEWMA])
def test_one_that_hangs_or_only_fails_is_asked_too_and_seldom(kind: Any) -> None:
    lb = kind(["good", "hangs", "fails"], seed=3)
    asked: dict[str, list[float]] = {"good": [], "hangs": [], "fails": []}
    held = []
    for tick in range(20 * 100):
        lb.set_time(tick / 20)
        lease = lb.lease()
        asked[lease.server].append(tick / 20)
        if lease.server == "hangs":
            held.append(lease)
        else:
            lease.end(ok=lease.server == "good", latency_s=0.005)
    for server in ("hangs", "fails"):
        times = [0.0, *asked[server], 100.0]
        assert max(b - a for a, b in pairwise(times)) <= 10
    assert len(asked["hangs"]) < 25 and len(asked["good"]) > 1200  # of a pair without "good" one has to be asked


@pytest.mark.parametrize("kind", [LeastTime, PeakEWMA])
def test_one_that_comes_back_is_asked_at_once_and_few_requests_are_not_spent_on_that(kind: Any) -> None:
    lb = kind(["a", "b"], seed=3)
    lb.set_time(0)
    lb.report("a", latency_s=0.001), lb.report("b", latency_s=5)
    lb.set_up("b", False)
    lb.set_time(60)
    assert {lb.pick() for _ in range(9)} == {"a"}
    lb.set_up("b")
    lb.set_time(61)
    assert "b" in [lb.pick() for _ in range(9)]
    rare = kind(["a", "b", "c"], seed=3)
    for number in range(400):  # one in a minute: all servers would be due at each
        rare.set_time(60.0 * number)
        rare.pick()
        for server, latency_s in (("a", 0.001), ("b", 0.9), ("c", 0.9)):
            rare.report(server, latency_s=latency_s)
    assert rare.stats()["a"].picks > (270 if kind is LeastTime else 200)
