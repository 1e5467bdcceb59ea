"""Selectors that draw: random by weight, the power of two choices."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.selection import P2C, LeastConnections, PeakEWMA, RandomWeighted, Selector

weights_of = st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any)


def chi_squared(counts: Counter[Any], weights: dict[Any, int]) -> tuple[float, int]:
    total, drawn = sum(weights.values()), sum(counts.values())
    expected = {server: drawn * weight / total for server, weight in weights.items() if weight}
    return sum((counts[server] - share) ** 2 / share for server, share in expected.items()), len(expected) - 1


def indexes(lb: Selector[Any], count: int) -> Counter[int]:
    return Counter(lb.pick_many(count))


def test_vector() -> None:
    lb = RandomWeighted({"a": 5, "b": 1, "c": 1})
    assert "".join(lb.pick() for _ in range(14)) == "caaaaaaaaaaaac"


@pytest.mark.parametrize("kind", [RandomWeighted, P2C, PeakEWMA])
@given(weights=weights_of, seed=st.integers(0, 1 << 32))
def test_shares_are_those_of_the_weights(kind: Any, weights: list[int], seed: int) -> None:
    """Nobody is busy, so the first of a pair is taken: its distribution is that of the draw."""
    lb = kind(dict(enumerate(weights)), seed=seed)
    found, freedom = chi_squared(indexes(lb, 4000), dict(enumerate(weights)))
    assert found < freedom + 6 * (2 * freedom) ** 0.5 + 12


def test_weights_of_any_size_are_drawn_exactly() -> None:
    lb = RandomWeighted({0: 1 << 30, 1: 1, 2: 0, 3: (1 << 30) - 1})
    counts = indexes(lb, 100_000)
    assert set(counts) <= {0, 1, 3} and abs(counts[0] - 50_000) < 1000
    rare = RandomWeighted({0: 9999, 1: 1})
    assert 60 < indexes(rare, 1_000_000)[1] < 140


@pytest.mark.parametrize("kind", [RandomWeighted, P2C])
def test_many_servers_have_their_shares_too(kind: Any) -> None:
    weights = {number: number % 5 for number in range(10_000)}
    lb = kind(weights)
    by_weight = Counter[int]()
    for index, count in indexes(lb, 400_000).items():
        by_weight[weights[index]] += count
    for weight in range(5):
        assert abs(by_weight[weight] / 400_000 - weight / 10) < 0.004


@pytest.mark.parametrize("kind", [RandomWeighted, P2C, PeakEWMA])
@pytest.mark.parametrize("count", [3, 5000])
def test_the_others_keep_their_ratio_when_one_is_down(kind: Any, count: int) -> None:
    lb = kind({number: 1 + number % 3 for number in range(count)})
    for number in range(0, count, 2):
        lb.set_up(number, False)
    counts = indexes(lb, 60_000)
    assert all(index % 2 for index in counts)
    by_weight = Counter[int]()
    for index, found in counts.items():
        by_weight[1 + index % 3] += found
    total = sum(1 + number % 3 for number in range(1, count, 2))
    for weight in (1, 2, 3):
        share = sum(1 + number % 3 for number in range(1, count, 2) if 1 + number % 3 == weight) / total
        assert abs(by_weight[weight] / 60_000 - share) < 0.01


@pytest.mark.parametrize("kind", [RandomWeighted, P2C, PeakEWMA, LeastConnections])
def test_an_excluded_server_leaves_its_share_to_the_others_by_weight(kind: Any) -> None:
    lb = kind({number: 1 + number % 2 for number in range(40)})
    counts = Counter(lb.pick(exclude=range(4, 40)) for _ in range(6000))
    if kind is LeastConnections:
        assert set(counts) == {0, 1, 2, 3}  # all are idle: they take turns, as `test_least` holds
    else:
        assert abs(counts[1] + counts[3] - 4000) < 250 and set(counts) == {0, 1, 2, 3}


@pytest.mark.parametrize("kind", [RandomWeighted, P2C, PeakEWMA])
def test_what_is_drawn_ahead_among_many_changes_nothing(kind: Any) -> None:
    """Picks one by one, all at once, across a copy and between picks of other kinds are the same."""
    lb = kind({f"10.0.{number >> 8}.{number & 255}": 1 + number % 7 for number in range(5000)}, seed=5)
    other = copy.copy(lb)
    one = [lb.pick() for _ in range(3000)]
    assert one == [other.servers[index] for index in other.pick_many(3000)]
    assert lb.pick(exclude=one) == other.pick(exclude=one)
    twin = copy.copy(lb)
    assert [lb.pick() for _ in range(50)] == [other.pick() for _ in range(50)] == [twin.pick() for _ in range(50)]
    for selector in (lb, other):
        selector.set_weight("10.0.0.1", 90)
        selector.add("new", 5)
        selector.remove("10.0.0.2")
    assert [lb.pick() for _ in range(5000)] == [other.servers[index] for index in other.pick_many(5000)]


@given(loads=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 6)), min_size=2, max_size=6), seed=st.integers(0, 99))
def test_the_busiest_by_weight_is_never_taken(loads: list[tuple[int, int]], seed: int) -> None:
    """Two different ones are drawn, so one that is busier than all others always loses."""
    lb = P2C({number: weight for number, (weight, _) in enumerate(loads)}, seed=seed)
    leases = []
    for number, (_, count) in enumerate(loads):
        leases += [lb.lease(accept=lambda server, n=number: server == n) for _ in range(count)]
    busy = [count / weight for weight, count in loads]
    worst = [number for number, load in enumerate(busy) if load == max(busy)]
    picked = Counter(lb.pick() for _ in range(300))
    if len(worst) == 1:
        assert picked[worst[0]] == 0
    del leases


def test_of_two_the_idle_one_is_always_taken() -> None:
    lb = P2C({"a": 1, "b": 1000})
    lease = lb.lease(exclude={"a"})
    assert {lb.pick() for _ in range(200)} == {"a"}
    lease.end()
    assert "b" in {lb.pick() for _ in range(200)}


def fullest(kind: Any, servers: int, balls: int) -> int:
    lb = kind(range(servers), seed=0)
    leases = [lb.lease() for _ in range(balls)]
    found = max(lb.in_flight(number) for number in range(servers))
    del leases
    return int(found)


def test_two_choices_are_nearly_as_even_as_all_and_one_is_not() -> None:
    """The vector of p2c's docstring; n balls into n bins: log n / log log n against log log n."""
    assert fullest(P2C, 16, 1600) == 101 and fullest(RandomWeighted, 16, 1600) == 111
    assert fullest(P2C, 4096, 4096) <= 3 and fullest(RandomWeighted, 4096, 4096) >= 5
