"""What a pick of the proxy costs, with every strategy that it offers, by number of servers. `pytest bench/micro`."""

from __future__ import annotations

from typing import Any

import pytest

from bench.micro.timing import yardstick
from lbcore.http.request import Request
from tests.support.tree import Tree

STRATEGIES = ("wrr", "p2c", "leasttime", "leastconn", "peakewma", "hrw")
REQUESTS = 64


@pytest.mark.parametrize("count", [10, 10_000])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategy(benchmark: Any, strategy: str, count: int) -> None:
    servers = [{"url": f"http://10.{n >> 8}.{n & 255}.1:80", "weight": 1 + n % 3} for n in range(count)]
    tree = Tree({"s": {"loadBalancer": {"servers": servers, "strategy": strategy}}})
    service = tree.service("s")
    requests = []
    for number in range(REQUESTS):
        request = Request()
        request.come_from(f"192.0.2.{number}")
        requests.append(request)
    service.pick(requests[0])

    def picks(_: object = None) -> None:
        for request in requests:
            service.pick(request)

    benchmark.name = benchmark.fullname = f"strategy_{strategy}_n{count}"
    benchmark.group = f"strategy {strategy}"
    benchmark.pedantic(picks, rounds=200, iterations=20, warmup_rounds=2)
    benchmark.extra_info["ns_per_op"] = benchmark.stats.stats.min * 1e9 / REQUESTS
    benchmark.extra_info["allocations_per_op"] = yardstick.allocations(picks, None) / REQUESTS
