"""Every strategy that the proxy offers, over few and over many servers, asked by many clients."""

from __future__ import annotations

from typing import Any

from bench.micro.timing import Loop, compiled, fours
from lbcore.http.request import Request
from tests.support.tree import Tree

FEW, MANY = 10, 10_000
STRATEGIES: dict[str, dict[str, Any]] = {
    name: {"strategy": name} for name in ("wrr", "p2c", "leasttime", "leastconn", "peakewma", "hrw")
}
STRATEGIES["hrw_bounded"] = {"strategy": "hrw", "hashOn": {"boundedLoad": 125}}
CLIENTS = 4096


def asking() -> list[tuple[Any, ...]]:
    """A request of each client, in fours."""
    requests = []
    for number in range(CLIENTS):
        request = Request()
        request.come_from(f"192.0.{number >> 8}.{number & 255}")
        requests.append(request)
    return fours(requests)


def picking(name: str, count: int, first: Request) -> Loop:
    """A loop of picks over `count` servers of weights 1, 2 and 3. The service has been asked once."""
    servers = [{"url": f"http://10.{n >> 8}.{n & 255}.1:80", "weight": 1 + n % 3} for n in range(count)]
    service = Tree({"s": {"loadBalancer": {"servers": servers, **STRATEGIES[name]}}}).service("s")
    service.pick(first)
    return compiled("lb.pick(key)", lb=service)
