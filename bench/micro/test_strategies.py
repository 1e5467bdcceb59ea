"""What a pick costs among few and among many servers, for every strategy that the proxy offers."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.http.request import Request
from tests.support.tree import Tree

STRATEGIES = ("wrr", "p2c", "leasttime", "leastconn", "peakewma", "hrw")


@pytest.mark.parametrize("count", [10, 10_000])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_pick(benchmark: Any, strategy: str, count: int) -> None:
    servers = [{"url": f"http://10.{n >> 8}.{n & 255}.1:80", "weight": 1 + n % 3} for n in range(count)]
    tree = Tree({"s": {"loadBalancer": {"servers": servers, "strategy": strategy}}})
    service = tree.service("s")
    requests = []
    for number in range(64):
        request = Request()
        request.come_from(f"192.0.2.{number}")
        requests.append(request)
    service.pick(requests[0])

    def picks() -> None:
        for request in requests:
            service.pick(request)

    benchmark(picks)
    benchmark.extra_info["ns_per_pick"] = benchmark.stats.stats.median * 1e9 / len(requests)
