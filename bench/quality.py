"""How well selectors keep to the shares they should give: `python -m bench.quality [--out FILE]`.

Every selector of lbcore beside every rival on PyPI and, by their formulas, beside other balancers: deviation from the
ideal share, imbalance of hashes with sibling names and keys, keys that move on a change, picks of the busier server.
Deterministic: it gives the same figures on every machine.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

from rich.table import Table

from bench import formulas
from bench.micro import rivals, selectors
from bench.report import print_tables
from lbcore.selection import Prequal, Selector

Rows = list[dict[str, Any]]
WEIGHT_SETS = 300
WEIGHTS = (1, 2, 3, 5, 7, 10, 20, 50)
PERIODS = 3
KEYS = 20_000
DRAWS = 20_000
LOADED = ("LeastConnections", "P2C", "PeakEWMA", "LeastTime", "Prequal")
POOLS = {
    "app-v1, app-v2": ["app-v1", "app-v2"],
    "three addresses": [f"10.0.0.{n}:80" for n in (1, 2, 3)],
    "four ports": [f"127.0.0.1:{n}" for n in (8081, 8082, 8083, 8084)],
    "16 addresses": [f"10.0.0.{n}:8080" for n in range(1, 17)],
    "100 addresses": [f"10.0.{n >> 3}.{n & 7}:8080" for n in range(100)],
}


def clients(count: int) -> list[str]:
    """Addresses of neighbours, as behind one provider."""
    return [f"10.{n >> 14 & 127}.{n >> 7 & 127}.{n & 127}" for n in range(count)]


# Turn by turn


def turns_of(name: str) -> formulas.Turns:
    def turns(weights: Sequence[int]) -> Iterator[int]:
        lb = selectors.ALL[name](dict(enumerate(weights)))
        while True:
            yield lb.pick()

    return turns


def rival_turns(rival: rivals.Rival) -> formulas.Turns:
    def turns(weights: Sequence[int]) -> Iterator[int]:
        statement, names = rival.prepare([str(index) for index in range(len(weights))], list(weights))
        pick = eval(f"lambda: {statement}", dict(names))
        while True:
            yield int(pick())

    return turns


def all_turns() -> dict[str, formulas.Turns]:
    own = {f"lbcore {name}": turns_of(name) for name in selectors.ALL if name in selectors.WEIGHTED - selectors.KEYED}
    weighted = ("weighted round robin", "smooth weighted round robin")
    others = {rival.name: rival_turns(rival) for rival in rivals.RIVALS if rival.job in weighted}
    return own | others | formulas.TURNS


def deviation(turns: formulas.Turns, weights: Sequence[int], length: int) -> tuple[float, float]:
    """From the start: the greatest |picks - t * share|. In any window of 10 picks: the same."""
    total = sum(weights)
    got, greatest, window = [0] * len(weights), 0.0, 0.0
    history: list[int] = []
    for turn, index in enumerate(islice(turns(weights), length), 1):
        got[index] += 1
        history.append(index)
        greatest = max(
            greatest, max(abs(have * total - turn * weight) for have, weight in zip(got, weights, strict=True))
        )
        if turn >= 10:
            last = Counter(history[-10:])
            for server, weight in enumerate(weights):
                window = max(window, abs(last[server] - 10 * weight / total))
    return greatest / total, window


def smoothness() -> Rows:
    """Over 300 random sets of 2 to 8 weights, from the start over three periods."""
    rng = random.Random(1)
    sets = [[rng.choice(WEIGHTS) for _ in range(rng.randint(2, 8))] for _ in range(WEIGHT_SETS)]
    rows = []
    for name, turns in all_turns().items():
        found = [deviation(turns, weights, PERIODS * sum(weights)) for weights in sets]
        first = "".join("abc"[index] for index in islice(turns([5, 1, 1]), 14))
        rows.append(
            {
                "algorithm": name,
                "5/1/1": first,
                "mean deviation": statistics.fmean(one for one, _ in found),
                "greatest deviation": max(one for one, _ in found),
                "greatest in 10 picks": max(one for _, one in found),
            }
        )
    return sorted(rows, key=lambda row: row["greatest deviation"])


# By keys

Placer = Callable[[Sequence[str], Sequence[int]], Callable[[list[str]], list[int]]]


def own_placer(name: str) -> Placer:
    def placer(names: Sequence[str], weights: Sequence[int]) -> Callable[[list[str]], list[int]]:
        lb = selectors.ALL[name](dict(zip(names, weights, strict=True)))
        return lambda keys: list(lb.pick_many(keys))

    return placer


def rival_placer(rival: rivals.Rival) -> Placer:
    def placer(names: Sequence[str], weights: Sequence[int]) -> Callable[[list[str]], list[int]]:
        statement, scope = rival.prepare(list(names), list(weights))
        pick = eval(f"lambda key: {statement}", dict(scope))
        index_of = {name: index for index, name in enumerate(names)}

        def place(keys: list[str]) -> list[int]:
            found = [pick(formulas.hash_of(key) >> 1 if rival.numbers else key) for key in keys]
            return [index_of[one.decode() if isinstance(one, bytes) else one] for one in found]

        return place

    return placer


def formula_placer(make: Callable[[Sequence[str], Sequence[int]], formulas.Place]) -> Placer:
    def placer(names: Sequence[str], weights: Sequence[int]) -> Callable[[list[str]], list[int]]:
        place = make(names, weights)
        return lambda keys: [place(key) for key in keys]

    return placer


def all_placers() -> dict[str, Placer]:
    own = {f"lbcore {name}": own_placer(name) for name in sorted(selectors.KEYED)}
    others = {rival.name: rival_placer(rival) for rival in rivals.RIVALS if rival.job in ("ring", "rendezvous", "jump")}
    return own | others | {name: formula_placer(make) for name, make in formulas.PLACES.items()}


def takes_weights(name: str) -> bool:
    if name.startswith("lbcore "):
        return name.removeprefix("lbcore ") in selectors.WEIGHTED
    return name in formulas.PLACES and "no weights" not in name


def imbalance() -> Rows:
    """Greatest share over the ideal one: equal servers with sibling names, clients with neighbouring addresses."""
    keys = clients(KEYS)
    rows = []
    for name, placer in all_placers().items():
        row: dict[str, Any] = {"algorithm": name}
        for pool, servers in POOLS.items():
            found = Counter(placer(servers, [1] * len(servers))(keys))
            row[pool] = max(found.values()) * len(servers) / len(keys)
        rows.append(row)
    return sorted(rows, key=lambda row: max(row[pool] for pool in POOLS))


def weighted_shares() -> Rows:
    """Per cent of clients that the heavier of two sibling names gets."""
    keys, pool = clients(KEYS), POOLS["app-v1, app-v2"]
    rows = []
    for name, placer in all_placers().items():
        if takes_weights(name):
            shares = {
                f"{one}:{other}": placer(pool, [one, other])(keys).count(0) for one, other in ((3, 1), (9, 1), (1, 9))
            }
            rows.append({"algorithm": name} | {title: 100 * got / len(keys) for title, got in shares.items()})
    return rows


def moved_live(name: str, change: Callable[[Selector[str]], None]) -> float:
    """The same for a selector of lbcore that is changed as it lives."""
    keys = clients(KEYS)
    lb = selectors.ALL[name](POOLS["16 addresses"])
    before = [lb.servers[index] for index in lb.pick_many(keys)]
    change(lb)
    after = [lb.servers[index] for index in lb.pick_many(keys)]
    return 100 * sum(a != b for a, b in zip(before, after, strict=True)) / len(keys)


def moved(placer: Placer, before: tuple[list[str], list[int]], after: tuple[list[str], list[int]]) -> float:
    """Per cent of clients that are given another server after a change."""
    keys = clients(KEYS)
    old, new = placer(*before)(keys), placer(*after)(keys)
    return 100 * sum(before[0][a] != after[0][b] for a, b in zip(old, new, strict=True)) / len(keys)


def disruption() -> Rows:
    """Per cent of clients that move, of 16 servers; what cannot be avoided stands in the first row."""
    pool = POOLS["16 addresses"]
    equal = pool, [1] * 16
    less, last, more = pool[:7] + pool[8:], pool[:-1], [*pool, "10.0.0.99:8080"]
    changed = [1] * 15 + [2]
    rows: Rows = [
        {
            "algorithm": "(least possible)",
            "one in the middle leaves": 100 / 16,
            "the last leaves": 100 / 16,
            "one more": 100 / 17,
            "one weight doubles": 100 * (2 / 17 - 1 / 16),
        }
    ]
    for name in sorted(selectors.KEYED):
        row: dict[str, Any] = {"algorithm": f"lbcore {name}"}
        row["one in the middle leaves"] = moved_live(name, lambda lb: lb.remove(pool[7]))
        row["the last leaves"] = moved_live(name, lambda lb: lb.remove(pool[-1]))
        row["one more"] = moved_live(name, lambda lb: lb.add(more[-1]))
        row["one weight doubles"] = moved_live(name, lambda lb: lb.set_weight(pool[-1], 2))
        rows.append(row)
    for name, placer in all_placers().items():
        if name.startswith("lbcore "):
            continue
        row = {"algorithm": name}
        row["one in the middle leaves"] = moved(placer, equal, (less, [1] * 15))
        row["the last leaves"] = moved(placer, equal, (last, [1] * 15))
        row["one more"] = moved(placer, equal, (more, [1] * 17))
        row["one weight doubles"] = moved(placer, equal, (pool, changed)) if takes_weights(name) else None
        rows.append(row)
    return rows


def leaving_in_place() -> Rows:
    """The same for lbcore's own: a live selector that loses a server, and gets it back."""
    pool, keys = POOLS["16 addresses"], clients(KEYS)
    rows = []
    for name in sorted(selectors.KEYED):
        lb = selectors.ALL[name](pool)
        before = [lb.servers[index] for index in lb.pick_many(keys)]
        lb.set_up(pool[7], False)
        gone = [lb.servers[index] for index in lb.pick_many(keys)]
        lb.set_up(pool[7], True)
        back = [lb.servers[index] for index in lb.pick_many(keys)]
        down = 100 * sum(a != b for a, b in zip(before, gone, strict=True)) / KEYS
        again = 100 * sum(a != b for a, b in zip(before, back, strict=True)) / KEYS
        rows.append({"algorithm": f"lbcore {name}", "one goes down": down, "and comes back": again})
    return rows


# By load


def probed(lb: Any) -> Any:
    """A pick; for `Prequal` with the probes that it asks for."""
    if isinstance(lb, Prequal):
        for server in lb.to_probe():
            lb.probe(server, lb.in_flight(server), 0.01)
    return lb.pick()


def busier() -> Rows:
    """Per cent of picks that go to the one busy server, of two and of eight; at random it were 50 and 12.5."""
    rows = []
    for name in LOADED:
        if name in selectors.ALL:
            row: dict[str, Any] = {"algorithm": f"lbcore {name}"}
            for size in (2, 8):
                lb = selectors.ALL[name](range(size))
                held = [lb.lease(accept=lambda server: server == 0) for _ in range(5)]
                row[f"of {size}"] = 100 * sum(probed(lb) == 0 for _ in range(DRAWS)) / DRAWS
                for lease in held:
                    lease.forget()
            rows.append(row)
    for name, choose in formulas.LEAST.items():
        row = {"algorithm": name}
        for size in (2, 8):
            rng, loads = random.Random(1), [5] + [1] * (size - 1)
            row[f"of {size}"] = 100 * sum(choose(loads, rng) == 0 for _ in range(DRAWS)) / DRAWS
        rows.append(row)
    return rows


def one_down() -> Rows:
    """Weights 5/1/1, the heavy one down: per cent that the other two get. Right is 50 each."""
    turns = {"Caddy (counter)": formulas.caddy_weighted([5, 1, 1], [0])}
    for name in sorted(selectors.WEIGHTED - selectors.KEYED):
        lb = selectors.ALL[name]({0: 5, 1: 1, 2: 1})
        lb.set_up(0, False)
        turns[f"lbcore {name}"] = (lb.pick() for _ in count())
    rows = []
    for name, picks in turns.items():
        found = Counter(islice(picks, 1400))
        rows.append({"algorithm": name, "b": found[1] / 14, "c": found[2] / 14})
    return rows


PARTS: dict[str, tuple[str, Callable[[], Rows]]] = {
    "smoothness": ("Deviation from the ideal share, in picks, over 300 sets of weights", smoothness),
    "imbalance": ("Greatest share over the ideal, equal servers with sibling names", imbalance),
    "weighted": ("Per cent of clients that app-v1 gets beside app-v2, by weights", weighted_shares),
    "disruption": ("Per cent of clients that move when 16 servers change", disruption),
    "in place": (
        "Per cent of clients that move when one of 16 goes down, and are elsewhere once it is back",
        leaving_in_place,
    ),
    "busier": ("Per cent of picks of the busy one of otherwise equally loaded servers", busier),
    "one down": ("Weights 5/1/1 and the heavy one down: per cent for the others", one_down),
}


def measured() -> dict[str, Any]:
    return {name: {"title": title, "rows": rows()} for name, (title, rows) in PARTS.items()}


def shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def tables(record: dict[str, Any]) -> list[Table]:
    found = []
    for part in record.values():
        if part["rows"]:
            table = Table(*part["rows"][0], title=part["title"])
            for row in part["rows"]:
                table.add_row(*map(shown, row.values()))
            found.append(table)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how well selectors keep to the shares they should give.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/quality.json")
    options = parser.parse_args()
    record = measured()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print_tables(tables(record))


if __name__ == "__main__":
    main()
