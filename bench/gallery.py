"""Draws the pictures of docs/gallery.md with the selectors themselves: `python -m bench.gallery`. Deterministic."""

from __future__ import annotations

import argparse
import inspect
import random
from collections import Counter
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import lbcore.selection
from bench import chart, formulas
from bench.simulate import latencies, quantile
from lbcore.selection import Selector

FOLDER = Path(__file__).resolve().parents[1] / "docs/gallery"
TURNWISE = ("SmoothWRR", "Tijdeman", "EDF", "StaticStride", "RandomWeighted")
KEYED = ("Rendezvous", "Consistent", "Maglev", "Ketama", "Jump", "Anchor", "Memento")
LOADED = ("SmoothWRR", "RandomWeighted", "P2C", "LeastConnections", "PeakEWMA", "LeastTime", "Prequal")
OTHERS = {"Traefik's formula": formulas.traefik_edf, "Caddy's formula": formulas.caddy_weighted}
CLIENTS = 20_000
REQUESTS = 60_000
SPEEDS = [1.0] * 18 + [1 / 3] * 2
LOADS = (0.5, 0.6, 0.7, 0.8, 0.9)


def kind(name: str) -> Any:
    found = getattr(lbcore.selection, name)
    assert inspect.isclass(found) and issubclass(found, Selector)
    return found


def picks(name: str, weights: Sequence[int], count: int) -> list[int]:
    if name in OTHERS:
        return list(islice(OTHERS[name](weights), count))
    return list(kind(name)(dict(enumerate(weights)), seed=7).pick_many(count))


def smoothness() -> dict[str, str]:
    weights, turns = [5, 1, 1], 42
    rows = {name: picks(name, weights, turns) for name in (*TURNWISE, *OTHERS)}
    strip = chart.strips("Who is picked, turn by turn", "Weights 5 (blue), 1 (orange), 1 (green); 42 picks", rows)
    weights = [50, 20, 10, 10, 5, 3, 1, 1]
    total, series = sum(weights), {}
    for name in (*TURNWISE, *OTHERS):
        got, points = [0] * len(weights), []
        for turn, index in enumerate(picks(name, weights, 2 * total), 1):
            got[index] += 1
            points.append((turn, max(abs(have - turn * w / total) for have, w in zip(got, weights, strict=True))))
        series[name] = points
    line = chart.lines(
        "How far any server is from its share",
        f"Weights {weights}: greatest |picks - share * turns| over the servers; two rounds of weights",
        series,
        x="picks",
        y="picks away",
        dots=False,
        log_y=False,
    )
    return {"turns": strip, "deviation": line}


def clients() -> list[str]:
    return [f"10.{n >> 14 & 127}.{n >> 7 & 127}.{n & 127}" for n in range(CLIENTS)]


def balance() -> dict[str, str]:
    servers = [f"10.0.0.{n}:8080" for n in range(1, 17)]
    keys = clients()
    values = {}
    for name in KEYED:
        found = Counter(kind(name)(servers).pick_many(keys))
        values[f"lbcore {name}"] = max(found.values()) * len(servers) / len(keys)
    for name in ("Traefik (hrw, FNV-1a)", "nginx (hash consistent)"):
        place = formulas.PLACES[name](servers, [1] * len(servers))
        found = Counter(map(place, keys))
        values[f"{name}, formula"] = max(found.values()) * len(servers) / len(keys)
    note = f"{CLIENTS:,} neighbouring client addresses over 16 servers of neighbouring addresses; 1 is even (red)"
    return {"balance": chart.bars("The fullest server, over an even share", note, values, mark=1.0)}


def moved(before: Selector[str], after: Selector[str], keys: list[str]) -> float:
    old, new = before.servers, after.servers
    pairs = zip(before.pick_many(keys), after.pick_many(keys), strict=True)
    return 100 * sum(old[a] != new[b] for a, b in pairs) / len(keys)


def disruption() -> dict[str, str]:
    servers = [f"10.0.0.{n}:8080" for n in range(1, 17)]
    keys = clients()
    leaves, closes, comes = {}, {}, {}
    for name in KEYED:
        label = f"lbcore {name}"
        full = kind(name)(servers)
        full.pick("x")
        less, shut, more = kind(name)(servers), kind(name)(servers), kind(name)(servers)
        for one in (less, shut, more):
            one.pick("x")
        less.remove(servers[7])
        shut.set_up(servers[7], False)
        more.add("10.0.0.99:8080")
        leaves[label], closes[label], comes[label] = (moved(full, one, keys) for one in (less, shut, more))
    place = formulas.nginx_hash(servers, [1] * 16)
    other = formulas.nginx_hash(servers[:7] + servers[8:], [1] * 15)
    rest = servers[:7] + servers[8:]
    leaves["remainder"] = 100 * sum(servers[place(key)] != rest[other(key)] for key in keys) / len(keys)
    note = "Per cent of clients that are given another server; red is the least there can be"
    return {
        "leaves": chart.bars("One of 16 servers is removed", note, leaves, " %", 100 / 16),
        "closes": chart.bars("One of 16 servers is closed for a while", note, closes, " %", 100 / 16),
        "comes": chart.bars("A 17th server comes", note, comes, " %", 100 / 17),
    }


def ramp() -> dict[str, str]:
    """A canary's weight goes from 0 to 50 % and back: who moves with each step."""
    keys = clients()
    steps = [0, 5, 10, 20, 30, 40, 50, 40, 30, 20, 10, 5, 0]
    series = {}
    least = [(float(n), float(abs(b - a))) for n, (a, b) in enumerate(pairwise(steps), 1)]
    for name in ("Rendezvous", "Consistent", "Maglev", "Ketama"):
        lb = kind(name)({"stable": 100, "canary": 0})
        before, points = list(lb.pick_many(keys)), []
        for number, (_, step) in enumerate(pairwise(steps), 1):
            lb.set_weight("stable", 100 - step)
            lb.set_weight("canary", step)
            now = list(lb.pick_many(keys))
            points.append((float(number), 100 * sum(a != b for a, b in zip(before, now, strict=True)) / len(keys)))
            before = now
        series[name] = points
    series["least possible"] = least
    text = chart.lines(
        "Users that move as a canary's share changes",
        "Shares 0, 5, 10, 20, 30, 40, 50 % and back; per cent of users that move with each step",
        series,
        x="step",
        y="% moved",
    )
    return {"ramp": text}


def tail() -> dict[str, str]:
    by_load: dict[str, list[tuple[float, float]]] = {name: [] for name in LOADED}
    cumulative = {}
    for name in LOADED:
        for load in LOADS:
            found = latencies(kind(name)(range(len(SPEEDS)), seed=3), SPEEDS, load, REQUESTS, 11)
            by_load[name].append((100 * load, quantile(found, 0.99)))
            if load == 0.7:
                parts = [1 - 10 ** -(step / 8) for step in range(33)]
                cumulative[name] = [(max(quantile(found, part), 0.05), 100 * (1 - part)) for part in parts]
    what = f"20 servers, 2 of them three times slower; Pareto service times (mean 1, shape 1.5); {REQUESTS:,} requests"
    loads = chart.lines(
        "99th percentile of the latency",
        what,
        by_load,
        x="load, % of all servers",
        y="mean service times",
        log_y=True,
    )
    distribution = chart.lines(
        "Requests that take longer, at 70 % load",
        what,
        cumulative,
        x="latency, mean service times",
        y="% take longer",
        log_x=True,
        log_y=True,
        dots=False,
    )
    return {"tail": loads, "distribution": distribution}


def herd() -> dict[str, str]:
    """Eight balancers that do not know of each other, each with its own selector."""
    rng = random.Random(5)
    values = {}
    for name in ("SmoothWRR", "StaticStride", "EDF", "RandomWeighted"):
        first: Counter[int] = Counter()
        for number in range(64):
            lb = kind(name)(range(8), seed=rng.randrange(1 << 31) + number)
            first[lb.pick()] += 1
        values[f"lbcore {name}"] = max(first.values()) * 8 / 64
    note = (
        "64 balancers over 8 servers, each with its own seed: first picks of the most wanted server, over an even share"
    )
    return {"herd": chart.bars("Who starts where", note, values, mark=1.0)}


PARTS = (smoothness, balance, disruption, ramp, tail, herd)


def drawn() -> dict[str, str]:
    return {name: text for part in PARTS for name, text in part().items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the pictures of docs/gallery.md.")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, text in drawn().items():
        (options.out / f"{name}.svg").write_text(text)
        print(options.out / f"{name}.svg")


if __name__ == "__main__":
    main()
