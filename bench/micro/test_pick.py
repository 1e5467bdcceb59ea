"""What a pick costs: from Python, from C, and in bulk, by number of servers, beside every rival."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import pytest

from bench.micro import rivals, selectors, timing
from bench.micro.timing import NUMBER_FOURS, TEXT_FOURS, yardstick

Measure = Callable[..., dict[str, float]]
MANY = 10_000
JOB_OF = {name: job for job, names in rivals.OURS.items() for name in names} | {"Jump": "jump"}


def test_empty_call(measure: Measure) -> None:
    measure("empty_call", "empty.call()", job="empty call", empty=yardstick.Empty())


def test_empty_call_with_key(measure: Measure) -> None:
    measure("empty_call_with_key", "empty.call_with(key)", job="empty call", empty=yardstick.Empty())


@pytest.mark.parametrize("count", selectors.SIZES)
@pytest.mark.parametrize("name", sorted(selectors.ALL))
def test_pick(measure: Measure, benchmark: Any, name: str, count: int) -> None:
    lb = selectors.make(name, count)
    job = f"{JOB_OF.get(name, name)} n{count}"
    found = measure(f"pick_{name}_n{count}", selectors.statement(name), job=job, lb=lb)
    hashes = selectors.hashes()
    share = max(100, int(2e6 / found["ns_per_op"]))
    native = min(yardstick.native_ns(lb, hashes, share) for _ in range(10))
    benchmark.extra_info["native_ns_per_op"] = native
    assert found["allocations_per_op"] == 0, "a pick allocates nothing"


@pytest.mark.parametrize("count", selectors.SIZES)
@pytest.mark.parametrize("name", sorted(selectors.KEYED))
def test_pick_by_number(measure: Measure, name: str, count: int) -> None:
    lb = selectors.make(name, count)
    job = f"{JOB_OF.get(name, name)} n{count}"
    found = measure(f"pick_{name}_int_n{count}", "lb.pick(key)", NUMBER_FOURS, job, lb=lb)
    assert found["allocations_per_op"] == 0, "a pick allocates nothing"


@pytest.mark.parametrize("count", selectors.SIZES)
@pytest.mark.parametrize("name", sorted(selectors.ALL))
def test_pick_many(benchmark: Any, name: str, count: int) -> None:
    lb = selectors.make(name, count)
    picks = MANY if count <= 4096 else 1000
    wanted: Any = array("Q", selectors.hashes() * (picks // selectors.HASHES + 1))[:picks]
    wanted = wanted if name in selectors.KEYED else picks
    out = array("I", bytes(4 * picks))
    benchmark.name = benchmark.fullname = f"pick_many_{name}_n{count}"
    benchmark.group = "pick_many"
    benchmark.pedantic(lb.pick_many, args=(wanted, out), rounds=30, warmup_rounds=1)
    benchmark.extra_info["ns_per_op"] = benchmark.stats.stats.min * 1e9 / picks
    calls = yardstick.allocations(lambda _: lb.pick_many(wanted, out), None)
    benchmark.extra_info["allocations_per_op"] = calls / picks


@pytest.mark.parametrize("rival", rivals.RIVALS, ids=lambda rival: rival.name)
@pytest.mark.parametrize("count", selectors.SIZES)
def test_rival(measure: Measure, rival: rivals.Rival, count: int) -> None:
    count = min(count, rival.largest)
    servers = selectors.names_of(count)
    weights = [1] * count if rival.job == "round robin" else selectors.weights_of(count)
    statement, names = rival.prepare(servers, weights)
    keys = NUMBER_FOURS if rival.numbers else TEXT_FOURS
    measure(f"pick_{rival.name}_n{count}", statement, keys, f"{rival.job} n{count}", 20, **names)


def test_timing_of_a_loop_counts_allocations() -> None:
    """The counter counts: a list made is an allocation, an empty call none."""
    assert timing.allocations_per_op(timing.compiled("[key] * 3"), TEXT_FOURS) > 0
    assert timing.allocations_per_op(timing.compiled("e.call()", e=yardstick.Empty()), TEXT_FOURS) == 0
