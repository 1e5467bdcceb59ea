"""Put the figures of the last `make bench` into README.md, where none is typed by hand: `python -m bench.readme`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def cell(cost: float, own: float) -> str:
    """A cost, and lbcore's as a multiple of it; 0: it is lbcore's."""
    return f"{cost:.1f}" + (f" ({own / cost:.2f} ×)" if own else "")


def lines(record: dict[str, Any]) -> list[str]:
    """A table in Markdown: workloads down, proxies across, each cell the cost and lbcore's ratio to it."""
    versions, machine = record["versions"], record["machine"]
    names = list(versions)
    out = [f"| workload | unit | {' | '.join(names)} |", "|---|---|" + "---:|" * len(names)]
    for name, workload in record["workloads"].items():
        results = workload["results"]
        own = results["lbcore"]["cost"]
        cells = [
            cell(results[peer]["cost"], own if peer != "lbcore" else 0) if peer in results else "" for peer in names
        ]
        out.append(f"| {name}: {workload['what']} | {workload['unit']} | {' | '.join(cells)} |")
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    rounds = f"{record['rounds']} rounds of {record['seconds']} s"
    how = f"Medians of {rounds}; one core for the proxy, one for load and servers."
    where = f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}, {machine['date']}."
    others = [
        f"{name}: {run['rounds']} rounds of {run['seconds']} s, {run['machine']['date']}."
        for name, run in ((name, workload.get("run", record)) for name, workload in record["workloads"].items())
        if any(run[key] != record[key] for key in ("machine", "rounds", "seconds"))
    ]
    out += [
        "",
        "In brackets: lbcore's cost as a multiple of that proxy's; below 1 lbcore is cheaper.",
        how,
        where,
        f"{shown}.",
        *others,
    ]
    return out


def main() -> None:
    record = json.loads((ROOT / "bench/results/proxies.json").read_text())
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(before + "\n".join([BEGIN, *lines(record), END]) + after)


if __name__ == "__main__":
    main()
