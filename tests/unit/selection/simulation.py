"""Servers with a queue each, in simulated time: requests arrive, a selector picks, the outcome is reported."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from lbcore.selection import NoServerError, Prequal


class Fleet:
    """`service_s(server, now_s)` gives the time that a request takes once it runs; each server runs one at a time.

    ok(server, now_s) says whether it succeeds.
    """

    def __init__(
        self,
        lb: Any,
        service_s: Callable[[Any, float], float],
        ok: Callable[[Any, float], bool] = lambda server, now_s: True,
    ) -> None:
        self.lb, self.service_s, self.ok = lb, service_s, ok
        self.free_at: dict[Any, float] = {}
        self.waiting: Counter[Any] = Counter()
        self.last: dict[Any, float] = {}
        self.latencies: list[float] = []
        self.picked: Counter[Any] = Counter()
        self.failed = 0

    def run(self, seconds: float, rate: float, seed: int, begin_s: float = 0.0) -> list[float]:
        """Poisson arrivals. Returns the latencies of the requests that succeeded, sorted."""
        random, now = Random(seed), begin_s
        self.latencies, self.failed, self.picked = [], 0, Counter()
        ends: list[tuple[float, int, Any, Any, float, bool]] = []
        number = 0
        while now < begin_s + seconds:
            now += random.expovariate(rate)
            while ends and ends[0][0] <= now:
                self.end(*heapq.heappop(ends))
            self.set_time(now)
            if isinstance(self.lb, Prequal):
                for server in self.lb.to_probe():
                    self.lb.probe(server, self.waiting[server], self.last.get(server, 0.0))
            try:
                lease = self.lb.lease()
            except NoServerError:
                continue
            server = lease.server
            good = self.ok(server, now)
            begins = max(now, self.free_at.get(server, 0.0))
            ends_at = begins + self.service_s(server, now) * random.expovariate(1)
            self.free_at[server] = ends_at
            self.waiting[server] += 1
            self.picked[server] += 1
            number += 1
            heapq.heappush(ends, (ends_at, number, lease, server, now, good))
        while ends:
            self.end(*heapq.heappop(ends))
        return sorted(self.latencies)

    def set_time(self, now_s: float) -> None:
        if hasattr(self.lb, "set_time"):
            self.lb.set_time(now_s)

    def end(self, at_s: float, number: int, lease: Any, server: Any, began_s: float, good: bool) -> None:
        self.set_time(at_s)
        self.waiting[server] -= 1
        self.last[server] = at_s - began_s
        lease.end(ok=good, latency_s=at_s - began_s)
        if good:
            self.latencies.append(at_s - began_s)
        else:
            self.failed += 1


def quantile(values: list[float], part: float) -> float:
    return values[int(part * (len(values) - 1))]
