"""The bars of a pick, as ratios of one run: `python -m bench.micro.bars`. Ends with 1 when one is missed.

A pick costs at most LIMIT calls of an empty method of a Cython class with the same arguments, for selectors that
promise it, at any number of servers; one of many in one call, and one from C if it is O(1), at most INNER of such a
call; and less than every rival does on the same job. A pick of the proxy among very many servers costs at most GROWTH
times one among few, with every strategy. What is compared runs in turns on one core.

Where a process has its code and its data decides about some nanoseconds: so several processes measure all of it, one
after the other, and each bar is the one with the median of their ratios.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from array import array
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from rich.table import Table

from bench.micro import rivals, selectors, strategies
from bench.micro.timing import NUMBER_FOURS, TEXT_FOURS, compiled, least_ns, yardstick
from bench.options import positive
from bench.process import PROXY_CORE
from bench.report import print_tables
from lbcore.selection import Selector

LIMIT = 2.5
INNER = 0.6
GROWTH = 2.0


@dataclass(frozen=True, slots=True)
class Bar:
    """`ns` may be `limit` times `beside_ns` at most."""

    name: str
    ns: float
    beside: str
    beside_ns: float
    limit: float

    @property
    def ratio(self) -> float:
        return self.ns / self.beside_ns

    @property
    def kept(self) -> bool:
        return self.ratio <= self.limit


def empty_calls() -> list[Bar]:
    """Picks beside an empty call. Keys are numbers for `Jump`, whose rivals take numbers, and texts for the rest."""
    found = []
    for name in (name for name in selectors.CONSTANT if name in selectors.ALL):
        # Called as the pick is: what passing a key costs is nobody's algorithm.
        empty = compiled(selectors.statement(name).replace("lb.", "empty."), empty=yardstick.Empty())
        keys = NUMBER_FOURS if name == "Jump" else TEXT_FOURS
        loops = [(empty, keys)]
        for count in selectors.SIZES:
            # Jump consistent hashing knows no weights: ours go by rejection, several tries a pick.
            lb = selectors.make(name, count, equal=name == "Jump")
            loops.append((compiled(selectors.statement(name), lb=lb), keys))
        base, *each = least_ns(loops)
        for count, ns in zip(selectors.SIZES, each, strict=True):
            found.append(Bar(f"{name}, {count} servers", ns, "empty call", base, LIMIT))
            lb = selectors.make(name, count, equal=name == "Jump")
            found.append(Bar(f"{name}, {count} servers, in bulk", in_bulk_ns(name, lb), "empty call", base, INNER))
            if name != "Jump":
                found.append(Bar(f"{name}, {count} servers, from C", from_c_ns(lb), "empty call", base, INNER))
    return found


def in_bulk_ns(name: str, lb: Selector[str]) -> float:
    """Per pick of `pick_many`."""
    hashes = array("Q", selectors.hashes())
    wanted = hashes if name in selectors.KEYED else len(hashes)
    out = array("I", bytes(4 * len(hashes)))
    bulk = compiled("lb.pick_many(wanted, out)", lb=lb, wanted=wanted, out=out)
    (ns,) = least_ns([(bulk, NUMBER_FOURS)])
    return ns / len(hashes)


def from_c_ns(lb: Selector[str]) -> float:
    """Per call of `choose`."""
    hashes = selectors.hashes()
    return min(yardstick.native_ns(lb, hashes, 100_000) for _ in range(20))


def beside_rivals() -> list[Bar]:
    found = []
    for rival in rivals.RIVALS:
        for name in rivals.OURS[rival.job]:
            if name not in selectors.ALL and name not in rivals.FUNCTIONS:
                continue
            for count in sorted({min(count, rival.largest) for count in selectors.SIZES}):
                equal = rival.job == "round robin"
                servers = selectors.names_of(count)
                keys = NUMBER_FOURS if rival.numbers else TEXT_FOURS
                weights = [1] * count if equal else selectors.weights_of(count)
                statement, names = rival.prepare(servers, weights)
                if name in rivals.FUNCTIONS:
                    mine, own = rivals.FUNCTIONS[name](servers, weights)
                else:
                    mine, own = selectors.statement(name), {"lb": selectors.make(name, count, equal=equal)}
                loops = [(compiled(mine, **own), keys), (compiled(statement, **names), keys)]
                ns, other = least_ns(loops, 20)
                found.append(Bar(f"{name}, {count} servers", ns, rival.name, other, 1.0))
    return found


def among_many() -> list[Bar]:
    found = []
    requests = strategies.asking()
    for name in strategies.STRATEGIES:
        sizes = (strategies.FEW, strategies.MANY)
        few, many = least_ns([(strategies.picking(name, count, requests[0][0]), requests) for count in sizes])
        what = f"proxy's {name}, {strategies.MANY} servers"
        found.append(Bar(what, many, f"{strategies.FEW} servers", few, GROWTH))
    return found


def table(bars: list[Bar]) -> Table:
    shown = Table("pick", "ns", "beside", "ns", "ratio", "limit", "")
    for bar in bars:
        row = (bar.name, f"{bar.ns:.1f}", bar.beside, f"{bar.beside_ns:.1f}", f"{bar.ratio:.3f}", f"{bar.limit:g}")
        shown.add_row(*row, "kept" if bar.kept else "MISSED")
    return shown


def measured() -> list[Bar]:
    """All bars, in this process."""
    os.sched_setaffinity(0, {PROXY_CORE})
    return empty_calls() + among_many() + beside_rivals()


def median_of(processes: int) -> list[Bar]:
    """All bars, each with the median ratio that fresh processes found."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        runs = [pool.submit(measured) for _ in range(processes)]
        found = zip(*(run.result() for run in runs), strict=True)
        return [sorted(same, key=lambda bar: bar.ratio)[processes // 2] for same in found]


def main() -> None:
    parser = argparse.ArgumentParser(description="The bars of a pick.")
    parser.add_argument("--processes", type=positive, default=5, help="an odd number")
    bars = median_of(parser.parse_args().processes)
    print_tables([table(bars)])
    if missed := [bar for bar in bars if not bar.kept]:
        sys.exit(f"{len(missed)} of {len(bars)} bars are missed")


if __name__ == "__main__":
    main()
