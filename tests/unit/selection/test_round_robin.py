"""Smooth weighted round robin and Tijdeman's order, against slow and obvious versions of both."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.selection import Selector, SmoothWRR, Tijdeman

weights_of = st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any)


def nginx(weights: list[int], count: int) -> list[int]:
    current, found = [0] * len(weights), []
    for _ in range(count):
        for number, weight in enumerate(weights):
            current[number] += weight
        best = max((n for n in range(len(weights)) if weights[n]), key=lambda n: (current[n], -n))
        current[best] -= sum(weights)
        found.append(best)
    return found


def deviation(lb: Selector[int], weights: list[int], count: int) -> Fraction:
    """The largest distance of anyone from its ideal share, over so many picks."""
    taken, total, worst = Counter[int](), sum(weights), Fraction(0)
    for step in range(1, count + 1):
        taken[lb.pick()] += 1
        worst = max(worst, *(abs(Fraction(step * weight, total) - taken[n]) for n, weight in enumerate(weights)))
    return worst


def test_published_sequence() -> None:
    lb = SmoothWRR({"a": 5, "b": 1, "c": 1})
    assert "".join(lb.pick() for _ in range(14)) == "aabacaa" * 2


@given(weights_of)
def test_wrr_is_nginx_sequence(weights: list[int]) -> None:
    lb = SmoothWRR(dict(enumerate(weights)))
    assert [lb.pick() for _ in range(2 * sum(weights))] == nginx(weights, 2 * sum(weights))


@given(weights_of)
def test_tijdeman_is_never_a_pick_away(weights: list[int]) -> None:
    n = sum(1 for weight in weights if weight)
    lb = Tijdeman(dict(enumerate(weights)))
    assert deviation(lb, weights, sum(weights)) <= 1 - Fraction(1, max(2, 2 * n - 2))


@pytest.mark.parametrize("kind", [SmoothWRR, Tijdeman])
def test_weights_without_a_short_period_are_followed_pick_by_pick(kind: type[Selector[int]]) -> None:
    weights = [1_000_003, 2_000_003, 700_001, 13, 99_991]
    assert deviation(kind(dict(enumerate(weights))), weights, 3000) <= 1 - Fraction(1, 8)


@pytest.mark.parametrize("kind", [SmoothWRR, Tijdeman])
@pytest.mark.parametrize("scale", [1, 100_003])
def test_weights_that_change_before_every_pick_starve_no_server(kind: type[Selector[str]], scale: int) -> None:
    lb = kind({"a": 5 * scale, "b": 3 * scale, "c": 2 * scale})
    counts = Counter[str]()
    for turn in range(3000):
        lb.set_weight("a", (5 + turn % 2) * scale + turn % 3)
        counts[lb.pick()] += 1
    assert counts["a"] > 1200 and counts["b"] > 600 and counts["c"] > 300


@pytest.mark.parametrize("kind", [SmoothWRR, Tijdeman])
def test_a_seed_says_where_the_order_begins(kind: type[Selector[int]]) -> None:
    firsts = {kind(range(50), seed=seed).pick() for seed in range(40)}
    assert len(firsts) > 20


def test_a_period_of_sixty_thousand_servers_is_computed_once() -> None:
    weights = {number: 1 + number % 3 for number in range(60_000)}
    lb = SmoothWRR(weights)
    counts = Counter(lb.pick_many(sum(weights.values())))
    assert all(counts[number] == weight for number, weight in weights.items())
