"""Compare the micro benchmarks with a stored baseline: `python -m bench.compare [FILE]`; `--store` makes a new one.

A baseline is two runs. Each figure is kept as a multiple of the empty call of its own run, so that a faster or slower
machine counts less. How far the two runs differ is the noise: a figure is worse when it exceeds the greater of its two
by more than its own difference and more than the band, the difference that BAND of all figures stayed within. What is
worse is measured again, AGAIN times at most, and the least counts. More allocations than in both runs are worse
whatever the time.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.table import Table

from bench import machine
from bench.micro.__main__ import run
from bench.report import print_tables

BASELINE = Path(__file__).parent / "baseline.json"
BAND = 0.95
AGAIN = 2
LEAST_BAND = 0.05
YARDSTICK = "empty_call"

Record = dict[str, Any]
# Of others: shown beside, and none of our business here.
FOREIGN = re.compile(r"pick_(?!many_)[a-z]|parse_(httptools|h11)|sticky_\w+_(http\.cookies|hashlib)|splice_copy")


def own(record: Record) -> Record:
    """The results that are lbcore's."""
    return {name: one for name, one in record["results"].items() if not FOREIGN.match(name)}


def relative(record: Record) -> dict[str, float]:
    """Each figure as a multiple of the empty call; those from C are named `NAME from C`."""
    results = own(record)
    base = results[YARDSTICK]["ns_per_op"]
    found = {name: one["ns_per_op"] / base for name, one in results.items()}
    found |= {
        f"{name} from C": one["native_ns_per_op"] / base for name, one in results.items() if "native_ns_per_op" in one
    }
    return found


def allocations(record: Record) -> dict[str, float]:
    return {name: one["allocations_per_op"] for name, one in own(record).items() if "allocations_per_op" in one}


def band_of(figures: dict[str, list[float]]) -> float:
    spreads = sorted(max(pair) / min(pair) - 1 for pair in figures.values())
    return round(max(LEAST_BAND, spreads[min(len(spreads) - 1, int(BAND * len(spreads)))]), 4)


def least(first: Record, second: Record) -> Record:
    """Of each figure the lesser, as multiples of the empty call of its run."""
    results = {name: dict(one) for name, one in first["results"].items()}
    scale = results[YARDSTICK]["ns_per_op"] / second["results"][YARDSTICK]["ns_per_op"]
    for name, one in second["results"].items():
        for key in ("ns_per_op", "native_ns_per_op"):
            if key in one and name in results and name != YARDSTICK:
                results[name][key] = min(results[name][key], one[key] * scale)
    return {"results": results}


def stored(first: Record, second: Record) -> Record:
    """The baseline of two runs."""
    one, other = relative(first), relative(second)
    figures = {name: [round(one[name], 4), round(other[name], 4)] for name in one}
    calls = allocations(second)
    most = {name: max(value, calls[name]) for name, value in allocations(first).items()}
    empty_ns = [first["results"][YARDSTICK]["ns_per_op"], second["results"][YARDSTICK]["ns_per_op"]]
    return {
        "machine": machine.describe(),
        "empty_call_ns": [round(value, 2) for value in empty_ns],
        "band": band_of(figures),
        "figures": figures,
        "allocations": most,
    }


def worse(baseline: Record, record: Record) -> list[tuple[str, str, str]]:
    """What is beyond the noise: name, before, now. What is missing now counts, too."""
    now, calls = relative(record), allocations(record)
    found = []
    for name, (one, other) in baseline["figures"].items():
        if name not in now:
            found.append((name, f"{max(one, other):.3f} empty calls", "missing"))
            continue
        own = max(one, other) / min(one, other) - 1
        limit = max(one, other) * (1 + max(own, baseline["band"]))
        if name != YARDSTICK and now[name] > limit:
            found.append((name, f"{one:.3f}, {other:.3f}; at most {limit:.3f} empty calls", f"{now[name]:.3f}"))
    for name, most in baseline["allocations"].items():
        if calls.get(name, 0.0) > most + 0.01:
            found.append((name, f"{most:.2f} allocations", f"{calls[name]:.2f}"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the micro benchmarks with the stored baseline.")
    parser.add_argument("file", nargs="?", type=Path, help="a run's result; default: run now")
    parser.add_argument("--store", action="store_true", help="run twice, and store a new baseline")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder) / "first.json", Path(folder) / "second.json"]
        if options.store:
            BASELINE.write_text(json.dumps(stored(run(runs[0]), run(runs[1])), indent=1) + "\n")
            return
        baseline = json.loads(BASELINE.read_text())
        record = json.loads(options.file.read_text()) if options.file else run(runs[0])
        found = worse(baseline, record)
        for _ in range(0 if options.file else AGAIN):
            if found:
                record = least(record, run(runs[1]))
                found = worse(baseline, record)
    band = 100 * baseline["band"]
    if found:
        title = f"worse than the baseline by more than its noise, {band:.0f} %"
        shown = Table("benchmark", "baseline", "now", title=title)
        for row in found:
            shown.add_row(*row)
        print_tables([shown])
        sys.exit(1)
    print(f"{len(baseline['figures'])} figures within the noise of the baseline, {band:.0f} %")


if __name__ == "__main__":
    main()
