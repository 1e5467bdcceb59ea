"""What a pick of the proxy's weighted round robin costs, by number of servers. `pytest bench/micro`."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.routing.balancer import LoadBalancer
from lbcore.routing.server import Server
from lbcore.state.region import Region


def balancer(count: int) -> LoadBalancer:
    region = Region.create(1, servers=count)
    region.reset_service(0)
    servers = []
    for slot in range(count):
        region.reset_server(slot)
        servers.append(Server(f"app@bench|{slot}", f"http://10.0.0.1:{slot % 60000 + 1}", region, 0, slot))
    return LoadBalancer("app@bench", servers, [slot % 3 + 1 for slot in range(count)], region, 0)


@pytest.mark.parametrize("count", [2, 16, 256, 4096, 10_000, 65_536])
def test_pick_wrr(benchmark: Any, count: int) -> None:
    lb = balancer(count)
    lb.pick()
    benchmark.pedantic(lb.pick, rounds=200, iterations=5000, warmup_rounds=5)
