"""What watching costs: the interval of a median, and that the document has what was measured."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest

from bench import watching
from bench.watching import Pair, Slice, interval, row_of


@pytest.mark.parametrize("number", [6, 7, 20, 60, 61])
def test_the_interval_is_the_narrowest_that_has_the_median_at_95_per_cent(number: int) -> None:
    values = list(range(number))
    random.Random(1).shuffle(values)
    lowest, highest = interval(values)
    assert lowest == number - 1 - highest

    def outside(rank: int) -> float:  # how likely the median lies below the value of this rank
        return sum(math.comb(number, below) for below in range(int(rank) + 1)) / 2**number

    assert outside(int(lowest)) <= 0.025 < outside(int(lowest) + 1)


def test_few_values_say_little() -> None:
    assert interval([1.2]) == (1.2, 1.2)
    assert interval([3, 1, 2, 5, 4]) == (1, 5)


def test_the_ratio_of_each_pair_counts_and_the_order_of_its_slices_alternates() -> None:
    """What gets dearer in the meantime hits both sides alike."""
    order, cost_s = [], iter(range(10, 100))

    def measured(name: str, factor: float) -> Slice:
        order.append(name)
        return Slice(next(cost_s) * factor, 1000)

    pairs = watching.alternating(4, lambda: measured("without", 1), lambda: measured("having", 2))
    assert order == ["without", "having", "having", "without"] * 2
    assert [round(pair.having.cost_s / pair.without.cost_s, 2) for pair in pairs] == [2.2, 1.85, 2.14, 1.88]
    assert row_of(pairs)["ratio"] == pytest.approx(2, abs=0.02)


def test_the_document_has_what_was_measured() -> None:
    page = watching.PAGE.read_text()
    assert page.count(watching.MARK) == 2
    if watching.RESULT.exists():
        record = json.loads(watching.RESULT.read_text())
        assert watching.written(page, watching.figures(record), watching.MARK) == page


def test_parts_of_several_runs_say_so() -> None:
    def part(date: str) -> dict[str, Any]:
        pair = Pair(Slice(10e-6, 50_000), Slice(10.05e-6, 49_000))
        return {**row_of([pair] * 8), "run": {"seconds": 2, "machine": {"processor": "CPU", "date": date}}}

    text = watching.figures({"results": {"viewers": part("2026-01-01"), "traces1": part("2026-01-02")}})
    assert "| five viewers of the dashboard | 1.005 × | 1.005 to 1.005 | 1.01 × | 10.0 | 50,000 |" in text
    assert "8 pairs of 2 s, CPU, 2026-01-02: 1 % of the requests traced." in text
