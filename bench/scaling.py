"""What a second worker brings: `python -m bench.scaling`. One worker and two, each free to run on every core.

Load generator and servers share those cores, so requests per second say little where there are few of them; what a
request costs with two workers beside one tells what sharing costs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from bench import machine
from bench.load import LoadError, wrk
from bench.options import positive
from bench.peers import PEERS, Job, Peer
from bench.process import family
from bench.proxies import measure
from bench.report import print_tables, summarise
from bench.workloads import US, Sample, Target, Workload, per_request

WORKERS = (1, 2)


def with_workers(name: str, workers: int) -> Peer:
    """The peer of that name with other numbers in its command, files or environment."""
    base = PEERS[name]

    def configure(program: str, folder: Path, job: Job) -> list[str]:
        command = base.configure(program, folder, job)
        for file, one, more in (
            ("nginx.conf", "worker_processes 1", f"worker_processes {workers}"),
            ("haproxy.cfg", "nbthread 1", f"nbthread {workers}"),
        ):
            path = folder / file
            if path.exists():
                path.write_text(path.read_text().replace(one, more))
        for option in ("--workers", "--concurrency"):
            if option in command:
                command[command.index(option) + 1] = str(workers)
        if name == "envoy":  # two at a time need names of their own for what they share with their successors
            command += ["--base-id", str(workers)]
        return command

    environ = tuple((key, str(workers) if key == "GOMAXPROCS" else value) for key, value in base.environ)
    return dataclasses.replace(base, name=f"{name}-{workers}", configure=configure, environ=environ)


def everywhere(pid: int) -> None:
    """Let a process, its descendants and all their threads run on every core."""
    for one in family(pid):
        for task in Path(f"/proc/{one}/task").iterdir():
            os.sched_setaffinity(int(task.name), range(os.cpu_count() or 1))


def drive(target: Target, seconds: int) -> Sample:
    everywhere(target.pid)
    return per_request(target, lambda: wrk(target.url + "/", seconds, 64))


def measured(names: Sequence[str], rounds: int, seconds: int) -> dict[str, Any]:
    peers = [with_workers(name, workers) for name in names for workers in WORKERS]
    if missing := [peer.name for peer in peers if peer.path is None]:
        raise RuntimeError(f"not installed: {', '.join(missing)}")
    samples = measure(Workload("workers", "64 keep-alive connections", US, drive), peers, rounds, seconds)
    results: dict[str, Any] = {}
    for name in names:
        results[name] = {str(workers): summarise(samples[f"{name}-{workers}"]) for workers in WORKERS}
    return {"machine": machine.describe(), "results": results}


def table(record: dict[str, Any]) -> Table:
    shown = Table("proxy", "workers", US, "requests/s", "p99 ms", "cost beside one worker", title="One worker and two")
    for name, results in record["results"].items():
        for workers, result in results.items():
            figures = (f"{result['cost']:.1f}", f"{result['requests_per_second']:,.0f}", f"{result['p99_ms']:.2f}")
            shown.add_row(name, workers, *figures, f"{result['cost'] / results['1']['cost']:.2f} ×")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a second worker brings.")
    parser.add_argument("--proxy", default=",".join(PEERS))
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--seconds", type=positive, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/scaling.json")
    options = parser.parse_args()
    try:
        record = measured(options.proxy.split(","), options.rounds, options.seconds)
    except (LoadError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    options.out.write_text(json.dumps(record, indent=1) + "\n")
    print_tables([table(record)])


if __name__ == "__main__":
    main()
