"""What many routers of a provider cost: `python -m bench.providers`. One router of many is changed, again and again.

By source and proxy, all with throttle 0 and the same routers: the time from a change in the source until a request is
answered by it; CPU time per change, of lbcore's supervisor apart; memory per router; the 99th percentile of requests
while nothing changes and while changes follow each other, at a constant rate; requests that failed. Quiet times and
changes take turns, so that what else happens on the machine hits both. `--write` stores what was measured, beside what
was measured of other sources and proxies before, and puts all into docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from bench import machine
from bench.fleet import written
from bench.process import LOAD_CORE, PROXY_CORE, TICK_S, ended, family, memory_bytes, pin, start, wait_until
from bench.proxies import free_ports
from bench.rate import Client, Rate
from bench.reload import servers_command
from bench.report import print_tables
from bench.sources import SOURCES, Source
from tests.support.traefik import TRAEFIK

ROUTERS = 10_000
CHANGES = 20
ROUNDS = 5  # turns, each with a part of the changes
QUIET_S = 2.0  # before each
LIMIT_S = 300.0
ROOT = Path(__file__).resolve().parents[1]
RESULT, PAGE = ROOT / "bench/results/providers.json", ROOT / "docs/performance.md"
CORES = "One core for the proxy, one for source, servers and clients."
MARK = "<!-- figures of bench.providers -->"
COLUMNS = {
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "cpu_ms": "CPU, ms",
    "supervisor_ms": "supervisor, ms",
    "bytes_per_router": "bytes/router",
    "quiet_p99_ms": "quiet p99, ms",
    "changing_p99_ms": "changing p99, ms",
    "failed": "failed",
}


@dataclass
class Found:
    """The results of one proxy; times in seconds."""

    started_s: float = 0.0
    changes_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0  # per change
    supervisor_s: float = 0.0  # per change, of lbcore's first process
    memory: float = 0.0  # bytes per router
    quiet_s: list[float] = field(default_factory=list)
    changing_s: list[float] = field(default_factory=list)
    failed: int = 0


def command_of(proxy: str, folder: Path, static: Mapping[str, Any]) -> list[str]:
    file = folder / f"{proxy}.yml"
    file.write_text(yaml.safe_dump(dict(static)))
    if proxy == "traefik":
        return [str(TRAEFIK), f"--configFile={file}"]
    return [sys.executable, "-m", "lbcore", "run", "--workers", "1", "--config", str(file)]


def spent_s(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total * TICK_S


def measured(proxy: str, folder: Path, source: Source, routers: int, changes: int) -> Found:
    """One proxy beside a source that has `routers` routers."""
    found = Found()
    [port] = free_ports(1)
    static = {
        "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}},
        "providers": {"providersThrottleDuration": "0s", **source.settings},
    }
    source.put({0: "first"})
    with ended(start(command_of(proxy, folder, static), PROXY_CORE, folder)) as process:
        client = Client(port)
        wait_until(lambda: client.status("first") == 200, f"{proxy} serves", LIMIT_S)
        small = memory_bytes(process.pid)
        source.put({number: f"host-{number}" for number in range(1, routers)})
        began = time.monotonic()
        wait_until(lambda: client.status(f"host-{routers - 1}") == 200, "all routers", LIMIT_S)
        found.started_s = time.monotonic() - began
        time.sleep(1)
        pids = family(process.pid)
        for turn in range(ROUNDS):
            with Rate(port, "first") as rate:
                time.sleep(QUIET_S)
            found.quiet_s += rate.times_s
            found.failed += rate.failed
            before, supervisor = spent_s(pids), spent_s(pids[:1])
            with Rate(port, "first") as rate:
                for number in range(turn, changes, ROUNDS):
                    host = f"changed-{number}"
                    began = time.monotonic()
                    source.put({1: host})
                    while client.status(host) != 200:
                        if time.monotonic() - began > LIMIT_S:
                            raise TimeoutError(f"{proxy} does not follow")
                        time.sleep(0.001)
                    found.changes_s.append(time.monotonic() - began)
            found.changing_s += rate.times_s
            found.failed += rate.failed
            found.cpu_s += (spent_s(pids) - before) / changes
            found.supervisor_s += (spent_s(pids[:1]) - supervisor) / changes
        found.memory = (memory_bytes(process.pid) - small) / routers
    return found


def percentile(times_s: list[float], part: float) -> float:
    ordered = sorted(times_s)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", type=int, default=ROUTERS)
    parser.add_argument("--changes", type=int, default=CHANGES)
    parser.add_argument("--sources", default=",".join(SOURCES))
    parser.add_argument("--proxies", default="lbcore,traefik")
    parser.add_argument("--write", action="store_true", help="store the results, and put them into the documentation")
    options = parser.parse_args(arguments)
    pin(LOAD_CORE)
    results: dict[str, dict[str, float]] = {}
    for name in options.sources.split(","):
        for proxy in options.proxies.split(","):
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                [server] = free_ports(1)
                with (
                    ended(start(servers_command(folder, [server]), LOAD_CORE, folder, first=True)),
                    SOURCES[name](folder, f"127.0.0.1:{server}") as source,
                ):
                    row = row_of(measured(proxy, folder, source, options.routers, options.changes))
            results[f"{name} {proxy}"] = row
            print(f"{name} {proxy}: {json.dumps(row)}", file=sys.stderr, flush=True)
    print(f"{options.routers} routers, {options.changes} changes; {machine.processor()}")
    print_tables([table_of(results)])
    if options.write:
        record = {"machine": machine.describe(), "routers": options.routers}
        known = json.loads(RESULT.read_text())["results"] if RESULT.exists() else {}
        record["results"] = {**known, **results}
        RESULT.write_text(json.dumps(record, indent=1) + "\n")
        PAGE.write_text(written(PAGE.read_text(), figures(record), MARK))


def row_of(found: Found) -> dict[str, float]:
    return {
        "all_s": found.started_s,
        "p50_ms": percentile(found.changes_s, 0.5),
        "p99_ms": percentile(found.changes_s, 0.99),
        "cpu_ms": found.cpu_s * 1000,
        "supervisor_ms": found.supervisor_s * 1000,
        "bytes_per_router": found.memory,
        "quiet_p99_ms": percentile(found.quiet_s, 0.99),
        "changing_p99_ms": percentile(found.changing_s, 0.99),
        "failed": found.failed,
        "changes": len(found.changes_s),
    }


def cells_of(row: Mapping[str, float]) -> list[str]:
    return [f"{row[key]:.{1 if 0 < row[key] < 100 else 0}f}" for key in COLUMNS]


def table_of(results: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table("source", "proxy", *COLUMNS.values())
    for name, row in results.items():
        table.add_row(*name.split(), *cells_of(row))
    return table


def figures(record: Mapping[str, Any]) -> str:
    """The results in Markdown."""
    lines = [f"| source | proxy | {' | '.join(COLUMNS.values())} |", "|---|---|" + "---:|" * len(COLUMNS)]
    lines += [f"| {' | '.join((*name.split(), *cells_of(row)))} |" for name, row in record["results"].items()]
    where = record["machine"]
    counts: dict[str, set[int]] = {}
    for name, row in record["results"].items():
        counts.setdefault(name.split()[1], set()).add(int(row["changes"]))
    told = ", ".join(f"{' or '.join(map(str, sorted(some)))} of {proxy}" for proxy, some in sorted(counts.items()))
    how = f"{record['routers']:,} routers, throttle 0, changes one after the other: {told}"
    lines += ["", f"{how}.", f"{CORES} Rows of different proxies may come from different runs."]
    lines.append(f"{where['processor']}, {where['date']}.")
    return "\n".join(lines)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, subprocess.SubprocessError):
        main()
