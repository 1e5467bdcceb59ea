"""What a pick of the proxy costs, with every strategy that it offers, by number of servers. `pytest bench/micro`."""

from __future__ import annotations

from typing import Any

import pytest

from bench.micro import strategies
from bench.micro.timing import allocations_per_op


@pytest.mark.parametrize("count", [strategies.FEW, strategies.MANY])
@pytest.mark.parametrize("name", strategies.STRATEGIES)
def test_strategy(benchmark: Any, name: str, count: int) -> None:
    requests = strategies.asking()
    picks = strategies.picking(name, count, requests[0][0])
    benchmark.name = benchmark.fullname = f"strategy_{name}_n{count}"
    benchmark.group = f"strategy {name}"
    benchmark.pedantic(picks, (requests,), rounds=100, iterations=1, warmup_rounds=2)
    benchmark.extra_info["ns_per_op"] = benchmark.stats.stats.min * 1e9 / strategies.CLIENTS
    benchmark.extra_info["allocations_per_op"] = allocations_per_op(picks, requests)
