"""The static stride scheduler and earliest deadline first, against slow and obvious versions of both."""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from fractions import Fraction
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.selection import EDF, StaticStride

weights_of = st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any)


# Static stride


def grpc(weights: list[int], wanted: int, first: int = 0) -> list[int]:
    """The sequence, from exact fractions."""
    members = [number for number, weight in enumerate(weights) if weight]
    mean, top = Fraction(sum(weights), len(members)), Fraction(max(weights))
    top = min(top, 10 * mean)
    least = max(1, int(int(65535 * mean / top + Fraction(1, 2)) / Fraction(100) + Fraction(1, 2)))
    scaled = [max(least, min(65535, int(65535 * weights[n] / top + Fraction(1, 2)))) for n in members]
    found = []
    for number in count(first):
        turn, slot = divmod(number, len(members))
        if (scaled[slot] * turn + slot * 32767) % 65535 >= 65535 - scaled[slot]:
            found.append(members[slot])
            if len(found) == wanted:
                return found
    raise AssertionError


def test_stride_vector() -> None:
    lb = StaticStride({"a": 5, "b": 1, "c": 1})
    assert "".join(lb.pick() for _ in range(14)) == "acaabaaacaabaa"


@given(weights_of, st.integers(0, 1 << 40))
def test_stride_is_grpc_sequence(weights: list[int], first: int) -> None:
    lb = StaticStride(dict(enumerate(weights)))
    lb.restore({**lb.state(), "sequence": first})
    assert [lb.pick() for _ in range(100)] == grpc(weights, 100, first)
    lb.restore({**lb.state(), "sequence": first})
    assert list(lb.pick_many(100)) == grpc(weights, 100, first)


def test_stride_is_as_far_from_the_ideal_as_it_was_measured() -> None:
    worst = 0.0
    for a in (1, 2, 5, 10):
        for b in (1, 3, 7, 20):
            weights, taken = [a, b, 5, 1], Counter[int]()
            lb = StaticStride(dict(enumerate(weights)))
            for step in range(1, 2 * sum(weights) + 1):
                taken[lb.pick()] += 1
                worst = max(worst, *(abs(taken[n] - step * w / sum(weights)) for n, w in enumerate(weights)))
    assert worst < 2.5


def test_stride_caps_weights_as_grpc_does() -> None:
    """One of a hundred times the others' weight counts as ten times the mean; one of a millionth as a hundredth."""
    lb = StaticStride({0: 100, **dict.fromkeys(range(1, 100), 1)})
    assert abs(Counter(lb.pick_many(110_000))[0] / 110_000 - 10 * 1.99 / (10 * 1.99 + 99)) < 0.002
    light = StaticStride({0: 1, **dict.fromkeys(range(1, 4), 1_000_000)})
    assert abs(Counter(light.pick_many(300_000))[0] / 300_000 - 0.0075 / 3.0075) < 0.0005


def test_stride_gives_every_number_once_to_threads_that_pick_together() -> None:
    """Two threads, without the GIL in between: together they get what one alone would."""
    lb = StaticStride({0: 5, 1: 3, 2: 2})
    period = 10 * 6000
    parts = [array("I", bytes(4 * period)) for _ in range(2)]
    threads = [threading.Thread(target=lb.pick_many, args=(period, part)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = Counter(StaticStride({0: 5, 1: 3, 2: 2}).pick_many(2 * period))
    both = Counter(parts[0]) + Counter(parts[1])
    assert all(abs(both[number] - alone[number]) <= 2 for number in range(3))


def test_stride_keeps_its_number_over_changes_and_starts_where_the_seed_says() -> None:
    lb = StaticStride({"a": 2, "b": 2, "c": 1})
    before = lb.state()["sequence"]
    lb.pick()
    lb.set_weight("a", 3)
    lb.pick()
    assert lb.state()["sequence"] >= before + 2
    assert len({StaticStride(range(50), seed=seed).pick() for seed in range(40)}) > 20


# Earliest deadline first


def edf(weights: list[int], wanted: int) -> list[int]:
    """By exact deadlines; equal ones in the order in which they were set."""
    deadlines = {n: (Fraction(1, w), n) for n, w in enumerate(weights) if w}
    order, found = count(len(weights)), []
    for _ in range(wanted):
        best = min(deadlines, key=lambda n: deadlines[n])
        deadlines[best] = (deadlines[best][0] + Fraction(1, weights[best]), next(order))
        found.append(best)
    return found


def test_edf_vector() -> None:
    lb = EDF({"a": 5, "b": 1, "c": 1})
    assert "".join(lb.pick() for _ in range(21)) == "aaaabca" * 3


@given(weights_of)
def test_edf_is_what_fractions_give(weights: list[int]) -> None:
    lb = EDF(dict(enumerate(weights)))
    assert [lb.pick() for _ in range(3 * sum(weights))] == edf(weights, 3 * sum(weights))


@given(weights_of, st.integers(0, 500))
def test_edf_a_seed_is_so_many_picks_beforehand(weights: list[int], seed: int) -> None:
    lb = EDF(dict(enumerate(weights)), seed=seed)
    assert [lb.pick() for _ in range(100)] == edf(weights, seed + 100)[seed:]


def test_edf_does_not_drift() -> None:
    """A hundred thousand periods later the period is the same; with floats it is another one after the first."""
    weights = {0: 5, 1: 3, 2: 7, 3: 1}
    lb = EDF(weights)
    first = list(lb.pick_many(16))
    lb.pick_many(16 * 100_000)
    assert list(lb.pick_many(16)) == first
    late = EDF(weights, seed=16 * 26_843_545)  # nearly as many as a seed may stand for
    assert list(late.pick_many(16)) == first


def test_edf_weights_that_change_all_the_time_have_the_shares_of_their_means() -> None:
    lb = EDF({"a": 5, "b": 3, "c": 2})
    counts = Counter[str]()
    for turn in range(20_000):
        lb.set_weight("a", 4 + 2 * (turn % 2))
        counts[lb.pick()] += 1
    assert abs(counts["a"] / 20_000 - 0.5) < 0.02 and abs(counts["b"] / 20_000 - 0.3) < 0.02


def test_edf_a_server_keeps_the_part_of_its_wait_that_is_left() -> None:
    """After half of its wait its weight changes: the rest is half of the new wait."""
    lb = EDF({"heavy": 100, "light": 1})
    for _ in range(50):
        assert lb.pick() == "heavy"
    lb.set_weight("light", 10)
    assert [lb.pick() for _ in range(7)].index("light") in (4, 5)
    lb = EDF({"heavy": 100, "light": 1})
    lb.pick_many(50)
    lb.set_up("light", False)  # it does not wait while it is down
    lb.pick_many(200)
    lb.set_up("light")
    assert [lb.pick() for _ in range(60)].index("light") in (49, 50, 51)


def test_edf_a_server_that_comes_and_goes_is_not_starved() -> None:
    lb = EDF({"a": 1, "b": 1, "c": 2})
    counts = Counter[str]()
    random = Random(5)
    for _ in range(12_000):
        lb.set_up("b", random.random() < 0.5)
        counts[lb.pick()] += 1
    assert abs(counts["a"] / counts["c"] - 0.5) < 0.02
    assert 0.3 < counts["b"] / counts["a"] < 0.7


def test_edf_new_servers_come_in_at_any_part_of_their_wait() -> None:
    firsts = Counter[int]()
    for seed in range(200):
        lb = EDF(dict.fromkeys(range(10), 1), seed=seed)
        lb.pick()
        lb.add("new", 1)  # type: ignore[arg-type]
        firsts[[lb.pick() for _ in range(12)].index("new")] += 1  # type: ignore[arg-type]
    assert len(firsts) >= 9


@pytest.mark.parametrize("kind", [EDF, StaticStride])
@given(weights=st.lists(st.integers(1, 20), min_size=2, max_size=8), down=st.integers(0, 7))
def test_the_others_keep_their_ratio_when_one_is_down_or_barred(kind: Any, weights: list[int], down: int) -> None:
    down %= len(weights)
    rest = sum(weights) - weights[down]
    lb = kind(dict(enumerate(weights)))
    lb.set_up(down, False)
    counts = Counter(lb.pick() for _ in range(20 * rest))
    barred = kind(dict(enumerate(weights)))
    passed = Counter(barred.pick(exclude={down}) for _ in range(20 * rest))
    for number, weight in enumerate(weights):
        if number != down:
            assert abs(counts[number] - 20 * weight) <= 5 and abs(passed[number] - 20 * weight) <= 5


def test_edf_barred_for_ever_loses_its_turns_and_none_of_them_comes_back() -> None:
    """The one that may be picked has a millionth of the weight: its turn is found without going through the others'."""
    lb = EDF({"heavy": 1 << 30, "light": 1000})
    for _ in range(500):
        assert lb.pick(exclude={"heavy"}) == "light"
    assert [lb.pick() for _ in range(3)] == ["heavy"] * 3
    even = EDF({"a": 1, "b": 1, "c": 1})
    for _ in range(900):
        even.pick(exclude={"a"})
    assert Counter(even.pick() for _ in range(9)) == {"a": 3, "b": 3, "c": 3}
