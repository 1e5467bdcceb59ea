"""Run the micro benchmarks: `python -m bench.micro [--out FILE] [-k EXPRESSION]`. Prints ns and allocations."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from bench import machine
from bench.process import PROXY_CORE
from bench.report import print_tables

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def run(out: Path, select: str = "") -> dict[str, Any]:
    """One run of the whole suite on one core. Returns what `reduced` does, and writes it to `out`."""
    raw = out.with_suffix(".raw.json")
    command = [sys.executable, "-m", "pytest", str(HERE), "-q", "--benchmark-only", "--benchmark-quiet"]
    command += ["--benchmark-disable-gc", f"--benchmark-json={raw}", "--timeout=600", "-p", "no:randomly"]
    command += ["-k", select] if select else []
    done = subprocess.run(
        command,
        cwd=ROOT,
        check=False,
        stdout=subprocess.DEVNULL if not sys.stdout.isatty() else None,
        preexec_fn=lambda: os.sched_setaffinity(0, {PROXY_CORE}),
    )
    if done.returncode:
        raise RuntimeError(f"the micro benchmarks failed; run {' '.join(command)}")
    record = reduced(json.loads(raw.read_text()))
    raw.unlink()
    out.write_text(json.dumps(record, indent=1) + "\n")
    return record


def reduced(raw: dict[str, Any]) -> dict[str, Any]:
    """By name: ns_per_op, allocations_per_op, native_ns_per_op, group."""
    results = {one["name"]: {"group": one["group"], **one["extra_info"]} for one in raw["benchmarks"]}
    return {"machine": machine.describe(), "results": results}


def tables(record: dict[str, Any]) -> list[Table]:
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    empty = record["results"].get("empty_call", {}).get("ns_per_op")
    for name, one in record["results"].items():
        groups.setdefault(one["group"], []).append((name, one))
    found = []
    for group, rows in groups.items():
        shown = Table("benchmark", "ns", "× empty call", "from C, ns", "allocations", title=group)
        for name, one in sorted(rows, key=lambda row: row[1]["ns_per_op"]):
            ratio = f"{one['ns_per_op'] / empty:.2f}" if empty else ""
            native = f"{one['native_ns_per_op']:.1f}" if "native_ns_per_op" in one else ""
            calls = f"{one['allocations_per_op']:.2f}" if "allocations_per_op" in one else ""
            shown.add_row(name, f"{one['ns_per_op']:,.1f}", ratio, native, calls)
        found.append(shown)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results/micro.json")
    parser.add_argument("-k", dest="select", default="", help="as pytest's")
    options = parser.parse_args()
    try:
        record = run(options.out, options.select)
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    print_tables(tables(record))


if __name__ == "__main__":
    main()
