"""Servers with a queue each, in simulated time: requests arrive at random, a selector picks, leases tell how they went.

Nothing waits: the selectors that know a time are given it (`set_time`). The same seed gives the same latencies.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

from lbcore.selection import Prequal


def pareto(rng: random.Random, shape: float = 1.5, most: float = 100.0) -> float:
    """A heavy-tailed time of mean about 1: Pareto's, cut at `most`."""
    least = (shape - 1) / shape
    return min(least / rng.random() ** (1 / shape), most)


def latencies(
    lb: Any,
    speeds: list[float],
    load: float,
    requests: int,
    seed: int,
    service: Callable[[random.Random], float] = pareto,
) -> list[float]:
    """Of each request, in mean service times, sorted. speeds: by server; `load`: part of what all of them can do."""
    rng = random.Random(seed)
    rate = load * sum(speeds)
    free_at, waiting = [0.0] * len(speeds), [0] * len(speeds)
    last = [0.0] * len(speeds)
    ends: list[tuple[float, int, Any, float]] = []
    found, now = [], 0.0

    def tell(at: float) -> None:
        if hasattr(lb, "set_time"):
            lb.set_time(at)

    def finish(at: float, lease: Any, began: float) -> None:
        tell(at)
        waiting[lease.server] -= 1
        last[lease.server] = at - began
        lease.end(latency_s=at - began)
        found.append(at - began)

    for number in range(requests):
        now += rng.expovariate(rate)
        while ends and ends[0][0] <= now:
            at, _, lease, began = heapq.heappop(ends)
            finish(at, lease, began)
        tell(now)
        if isinstance(lb, Prequal):
            for server in lb.to_probe():
                lb.probe(server, waiting[server], last[server])
        lease = lb.lease()
        server = lease.server
        begins = max(now, free_at[server])
        free_at[server] = begins + service(rng) / speeds[server]
        waiting[server] += 1
        heapq.heappush(ends, (free_at[server], number, lease, now))
    while ends:
        at, _, lease, began = heapq.heappop(ends)
        finish(at, lease, began)
    return sorted(found)


def quantile(values: list[float], part: float) -> float:
    return values[min(len(values) - 1, int(part * len(values)))]
