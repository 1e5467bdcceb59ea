"""The fixture that times a statement, and notes nanoseconds and allocations per operation with the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.micro import timing
from bench.micro.timing import TEXT_FOURS

ROUNDS = 60


@pytest.fixture
def measure(benchmark: Any) -> Callable[..., dict[str, float]]:
    """`measure(name, statement, keys=..., job=..., **names)` -> ns_per_op, allocations_per_op."""

    def run(
        name: str,
        statement: str,
        keys: list[tuple[timing.Key, ...]] = TEXT_FOURS,
        job: str = "",
        rounds: int = ROUNDS,
        **names: Any,
    ) -> dict[str, float]:
        loop = timing.compiled(statement, **names)
        work = timing.sized(loop, keys)
        benchmark.name = benchmark.fullname = name
        benchmark.group = job or name.partition("_")[0]
        benchmark.pedantic(loop, args=(work,), rounds=rounds, iterations=1, warmup_rounds=2)
        operations = len(work) * len(timing.STEPS)
        found = {
            "ns_per_op": benchmark.stats.stats.min * 1e9 / operations,
            "allocations_per_op": timing.allocations_per_op(loop, work[:250]),
        }
        benchmark.extra_info.update(found)
        return found

    return run
