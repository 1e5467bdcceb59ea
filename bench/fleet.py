"""Many instances before many servers, in simulated time: `python -m bench.fleet` draws docs/fleet/ and writes tables.

Every instance has a selector of its own, of the very classes that lbcore and its library use, and knows what its own
requests have told it, and no more. Nothing waits, and the same seeds give the same figures.

- balance: how long requests take, by the number of instances, and by that of servers;
- sessions: who moves, and how full the fullest server is, when keys choose;
- deploy: a tenth of the servers after the other is replaced by cold ones;
- zone: a third of the servers fails all requests, and each instance has to find out.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import chart
from bench.simulate import pareto, quantile
from lbcore.selection import (
    P2C,
    Consistent,
    LeastConnections,
    Maglev,
    OutlierDetector,
    PeakEWMA,
    Prequal,
    RandomWeighted,
    Rendezvous,
    SlowStart,
    SmoothWRR,
    subset,
)

FOLDER = Path(__file__).resolve().parents[1] / "docs/fleet"
RECORD = Path(__file__).parent / "results/fleet.json"
MARK = "<!-- figures of bench.fleet -->"
INSTANCES = (1, 10, 100, 1000)
SERVERS = (10, 100, 1000, 10_000)
PAIRS = 1_000_000  # of instances and servers; beyond, an instance knows a subset alone
SUBSET = 20
LOAD = 0.7
REQUESTS = 200_000
EACH = 60  # requests of each server, at least
FEW = 6_000  # with --short, for tests

Make = Callable[[Sequence[int], int], Any]
STRATEGIES: dict[str, tuple[Make, int]] = {
    "round robin": (lambda servers, seed: SmoothWRR(servers, seed=seed), 0),
    "random": (lambda servers, seed: RandomWeighted(servers, seed=seed), 0),
    "least connections": (lambda servers, seed: LeastConnections(servers, seed=seed), 0),
    "two choices": (lambda servers, seed: P2C(servers, seed=seed), 0),
    "peak EWMA": (lambda servers, seed: PeakEWMA(servers, seed=seed), 0),
    "Prequal": (lambda servers, seed: Prequal(servers, seed=seed), 0),
    f"two choices of {SUBSET}": (lambda servers, seed: P2C(servers, seed=seed), SUBSET),
    f"Prequal of {SUBSET}": (lambda servers, seed: Prequal(servers, seed=seed), SUBSET),
}


class World:
    """Servers with a queue each, and what happens there. `now`: in mean service times."""

    def __init__(self, servers: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.speeds = [1.0] * servers
        self.fails = [False] * servers
        self.free_at = [0.0] * servers
        self.waiting = [0] * servers
        self.last = [0.0] * servers
        self._ends: list[tuple[float, int, Any, Any, float]] = []
        self._timed: dict[int, Any] = {}  # by the identity of a selector: the part of it that knows a time, or None
        self._number = itertools.count()

    def clock(self) -> float:
        return self.now

    def until(self, at: float) -> Iterable[tuple[Any, int, float, bool]]:
        """Let time pass. Yields selector, server, latency and success of each request that ends."""
        while self._ends and self._ends[0][0] <= at:
            self.now, _, selector, lease, began = heapq.heappop(self._ends)
            server = lease.server
            self._tell(selector)
            self.waiting[server] -= 1
            latency_s = self.last[server] = self.now - began
            is_good = not self.fails[server]
            lease.end(ok=is_good, latency_s=latency_s)
            yield selector, server, latency_s, is_good
        self.now = at

    def ask(self, selector: Any, key: int | None = None) -> int:
        """A request comes. Returns the server that is picked."""
        timed = self._tell(selector)
        if isinstance(timed, Prequal):
            for server in timed.to_probe():
                timed.probe(server, self.waiting[server], self.last[server])
        lease = selector.lease() if key is None else selector.lease(key)
        server: int = lease.server
        takes_s = 0.05 if self.fails[server] else pareto(self.rng) / self.speeds[server]
        self.free_at[server] = max(self.now, self.free_at[server]) + takes_s
        self.waiting[server] += 1
        heapq.heappush(self._ends, (self.free_at[server], next(self._number), selector, lease, self.now))
        return server

    def _tell(self, selector: Any) -> Any:
        """Tell a selector the time. Returns the part of it that knows one."""
        if id(selector) not in self._timed:
            self._timed[id(selector)] = None
            for kind in (Prequal, PeakEWMA):
                with contextlib.suppress(LookupError):
                    self._timed[id(selector)] = selector.layer(kind)
        timed = self._timed[id(selector)]
        if timed is not None:
            timed.set_time(self.now)
        return timed


def known_to(instance: int, servers: int, most: int) -> Sequence[int]:
    """The servers that an instance knows; `most`: 0 = all."""
    if not most or most >= servers:
        return range(servers)
    return subset(range(servers), most, f"instance-{instance}")


def selectors(name: str, instances: int, servers: int) -> list[Any]:
    make, most = STRATEGIES[name]
    return [make(known_to(number, servers, most), number + 1) for number in range(instances)]


# Balance


def waits(name: str, instances: int, servers: int, requests: int) -> tuple[float, float]:
    """The 99th percentile of latencies in mean service times, and the fullest server's requests over the mean."""
    world, balancers = World(servers, 11), selectors(name, instances, servers)
    rate, found, got = LOAD * servers, [], Counter[int]()
    if requests > FEW:
        requests = max(requests, EACH * servers)
    at = 0.0
    for number in range(requests):
        at += world.rng.expovariate(rate)
        counts = number > requests // 4
        found += [latency_s for _, _, latency_s, _ in world.until(at) if counts]
        got[world.ask(world.rng.choice(balancers))] += 1
    return quantile(sorted(found), 0.99), max(got.values()) * servers / requests


def balance(requests: int) -> dict[str, Any]:
    by_instances: dict[str, list[tuple[float, float]]] = {}
    by_servers: dict[str, list[tuple[float, float]]] = {}
    for name, (_, most) in STRATEGIES.items():
        for instances in INSTANCES:
            by_instances.setdefault(name, []).append((instances, waits(name, instances, 1000, requests)[0]))
        for servers in SERVERS:
            if 100 * min(servers, most or servers) <= PAIRS:
                by_servers.setdefault(name, []).append((servers, waits(name, 100, servers, requests)[0]))
    largest = {
        name: waits(name, INSTANCES[-1], SERVERS[-1], requests)[0]
        for name, (_, most) in STRATEGIES.items()
        if INSTANCES[-1] * min(SERVERS[-1], most or SERVERS[-1]) <= PAIRS
    }
    return {"by instances": by_instances, "by servers": by_servers, "1000 x 10000": largest}


# Sessions


KEYED: dict[str, Callable[[Sequence[int]], Any]] = {
    "Rendezvous": lambda servers: Rendezvous(servers),
    "Consistent": lambda servers: Consistent(servers),
    "Maglev": lambda servers: Maglev(servers),
    "Consistent, bounded load 1.25": lambda servers: Consistent(servers, bounded_load=1.25),
}


def sessions(requests: int) -> dict[str, Any]:
    """Keys of which few are wanted often (Zipf's law), at 10 instances before 100 servers."""
    servers, instances, keys = 100, 10, 20_000
    weights = [1 / (rank + 1) ** 0.9 for rank in range(keys)]
    moved, fullest, astray = {}, {}, {}
    for name, make in KEYED.items():
        before, after = make(range(servers)), make(range(servers))
        after.remove(7)
        old, new = before.servers, after.servers
        pairs = zip(before.pick_many(range(keys)), after.pick_many(range(keys)), strict=True)
        moved[name] = 100 * sum(old[a] != new[b] for a, b in pairs) / keys
        home = [old[index] for index in make(range(servers)).pick_many(range(keys))]
        world, balancers = World(servers, 5), [make(range(servers)) for _ in range(instances)]
        chosen = world.rng.choices(range(keys), weights, k=requests)
        most: list[float] = []
        away, at = 0, 0.0
        for number, key in enumerate(chosen):
            at += world.rng.expovariate(0.5 * servers)
            for _ in world.until(at):
                pass
            away += world.ask(world.rng.choice(balancers), key) != home[key]
            if number % 500 == 499 and number > requests // 4:
                most.append(max(world.waiting) * servers / max(sum(world.waiting), 1))
        fullest[name] = sum(most) / len(most)
        astray[name] = 100 * away / requests
    return {
        "moved when one of 100 leaves, %": moved,
        "fullest server over the mean": fullest,
        "away from home, %": astray,
    }


# A rolling deploy


def deploy(requests: int) -> dict[str, Any]:
    """A tenth of 100 servers after the other goes, and comes back cold: a third of its speed for 20 service times."""
    servers, instances, cold_s = 100, 10, 20.0
    found: dict[str, dict[str, float]] = {}
    for name in ("round robin", "least connections", "two choices", "peak EWMA", "Prequal"):
        for ramps in (False, True):
            world, balancers = World(servers, 3), selectors(name, instances, servers)
            if ramps:
                balancers = [SlowStart(each, window_s=cold_s, clock=world.clock) for each in balancers]
            times, end_s = [], requests / (LOAD * servers)
            step_s = end_s / 12
            begun = 0
            warm: list[tuple[float, int]] = []
            at = 0.0
            for _ in range(requests):
                at += world.rng.expovariate(LOAD * servers)
                during = step_s < at < 11 * step_s
                times += [latency_s for _, _, latency_s, _ in world.until(at) if during]
                while warm and warm[0][0] <= at:
                    world.speeds[warm.pop(0)[1]] = 1.0
                if begun < 10 and at >= (begun + 1) * step_s:
                    for server in range(begun * 10, begun * 10 + 10):
                        world.speeds[server] = 1 / 3
                        warm.append((at + cold_s, server))
                        for each in balancers:
                            each.remove(server)
                            each.add(server)
                    begun += 1
                world.ask(world.rng.choice(balancers))
            found.setdefault("with slow start" if ramps else "without", {})[name] = quantile(sorted(times), 0.99)
    return found


# A zone that fails


@dataclass
class Gossip:
    """What instances tell each other: servers that any of them has ejected."""

    ejected: set[int]


def failing(instances: int, servers: int, most: int, shares: bool, requests: int) -> float:
    """The per cent of requests that fail while a third of all servers does, with ejection after five failures."""
    world, gossip = World(servers, 7), Gossip(set())
    balancers = []
    for number in range(instances):
        inner = P2C(known_to(number, servers, most), seed=number + 1)
        balancers.append(
            OutlierDetector(
                inner,
                consecutive_failures=5,
                success_rate_factor=None,
                base_ejection_s=1e9,
                max_ejection_s=1e9,
                max_ejection_percent=50,
                clock=world.clock,
                on_eject=lambda server, reason: gossip.ejected.add(server),
            )
        )
    for server in range(0, servers, 3):
        world.fails[server] = True
    failed, at = 0, 0.0
    for _ in range(requests):
        at += world.rng.expovariate(LOAD * servers)
        for selector, server, _, is_good in world.until(at):
            failed += not is_good
            if shares and not is_good and server in gossip.ejected and server not in selector.ejected:
                selector.eject(server, "hint")
        world.ask(world.rng.choice(balancers))
    return 100 * failed / requests


def zone(requests: int) -> dict[str, Any]:
    servers = 300
    ways = {
        "each by itself": (0, False),
        "with hints": (0, True),
        f"{SUBSET} servers each": (SUBSET, False),
        f"{SUBSET} servers each, with hints": (SUBSET, True),
    }
    return {
        name: [(instances, failing(instances, servers, most, shares, requests)) for instances in INSTANCES]
        for name, (most, shares) in ways.items()
    }


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "balance": balance,
    "sessions": sessions,
    "deploy": deploy,
    "zone": zone,
}


def pictures(record: dict[str, Any]) -> dict[str, str]:
    what = f"servers with a queue each, Pareto service times (mean 1, shape 1.5), {100 * LOAD:g} % load"
    found, of_balance, of_sessions = {}, record["balance"], record["sessions"]
    axes = {"by instances": "instances, before 1,000 servers", "by servers": "servers, behind 100 instances"}
    for name, x in axes.items():
        series, title = of_balance[name], "99th percentile of the latency"
        text = chart.lines(title, what, series, x=x, y="mean service times", log_x=True, log_y=True)
        found[name.replace(" ", "-")] = text
    found["deploy"] = chart.bars(
        "99th percentile of the latency during a rolling deploy",
        "100 servers behind 10 instances; a tenth after the other comes back, at a third of its speed at first",
        {f"{name}, {way}": value for name in record["deploy"]["without"] for way, value in _both(record, name)},
    )
    found["zone"] = chart.lines(
        "Requests that fail while a third of 300 servers does",
        "Two choices; ejection after five failures in a row, with hints after one where another instance has ejected",
        record["zone"],
        x="instances",
        y="% of requests",
        log_x=True,
    )
    found["sessions"] = chart.bars(
        "The fullest server, over the mean, when keys choose",
        "100 servers behind 10 instances, 50 % load; some keys are wanted far more often than others",
        of_sessions["fullest server over the mean"],
        mark=1.0,
    )
    return found


def _both(record: dict[str, Any], name: str) -> list[tuple[str, float]]:
    return [(way, record["deploy"][way][name]) for way in ("without", "with slow start")]


def table(rows: dict[str, Sequence[str]], *heads: str) -> list[str]:
    found = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return [*found, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items())]


def figures(record: dict[str, Any]) -> str:
    """The tables of docs/fleet.md."""
    of_balance, of_sessions = record["balance"], record["sessions"]
    by_instances = {
        name: [f"{value:.1f}" for _, value in points] + [_largest(of_balance, name)]
        for name, points in of_balance["by instances"].items()
    }
    heads = [f"{count:,} × 1,000" for count in INSTANCES]
    by_key = {name: [f"{of_sessions[each][name]:.1f}" for each in of_sessions] for name in KEYED}
    zones = {name: [f"{value:.1f}" for _, value in points] for name, points in record["zone"].items()}
    return "\n".join(
        [
            "99th percentile of the latency in mean service times, by instances × servers:",
            "",
            *table(by_instances, "strategy", *heads, f"{INSTANCES[-1]:,} × {SERVERS[-1]:,}"),
            "",
            "Keys:",
            "",
            *table(by_key, "by key", *of_sessions),
            "",
            "Requests that fail while a third of the servers does, in per cent, by the number of instances:",
            "",
            *table(zones, "ejection", *(f"{count:,}" for count in INSTANCES)),
        ]
    )


def _largest(of_balance: dict[str, Any], name: str) -> str:
    value = of_balance["1000 x 10000"].get(name)
    return "–" if value is None else f"{value:.1f}"


def written(text: str, found: str, mark: str = MARK) -> str:
    """A document with other figures between its marks."""
    before, _, rest = text.partition(mark)
    _, _, after = rest.partition(mark)
    return f"{before}{mark}\n\n{found}\n\n{mark}{after}"


def simulated(parts: Iterable[str], requests: int) -> dict[str, Any]:
    return {name: PARTS[name](requests) for name in parts}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help=f"{FEW:,} requests for each point; writes nothing")
    parser.add_argument("--draw", action="store_true", help="only draw again what was simulated")
    options = parser.parse_args(arguments)
    if options.short:
        print(figures(simulated(PARTS, FEW)))
        return
    record = json.loads(RECORD.read_text()) if options.draw else simulated(PARTS, REQUESTS)
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pictures(record).items():
        (FOLDER / f"{name}.svg").write_text(text)
    document = FOLDER.parent / "fleet.md"
    document.write_text(written(document.read_text(), figures(record)))
    print(figures(record))


if __name__ == "__main__":
    main()
