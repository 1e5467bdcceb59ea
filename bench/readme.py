"""Put the figures of the last `make bench` into README.md and docs/performance.md: `python -m bench.readme`.

No figure is typed by hand. README.md has some workloads with plain costs, docs/performance.md all of them with ratios,
and how they were measured.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
# What README.md shows of the workloads, in a few words; costs in which lbcore is not the first are among them.
SHOWN = {
    "keepalive": "HTTP/1.1, kept connections",
    "connect": "HTTP/1.1, a new connection each",
    "tls": "TLS 1.3, kept connections",
    "tlsecdsa": "TLS 1.3, a full handshake each",
    "h2": "HTTP/2 over TLS 1.3",
    "grpc": "gRPC over HTTP/2",
    "h3": "HTTP/3",
    "routers10000": "10,000 routers",
    "body10m": "answers of 10 MB",
    "h210m": "answers of 10 MB, HTTP/2 over TLS 1.3",
    "tlsidle": "an idle TLS connection",
}


def cell(cost: float, own: float) -> str:
    """A cost, and lbcore's as a multiple of it; 0: it is lbcore's."""
    return f"{cost:.1f}" + (f" ({own / cost:.2f} ×)" if own else "")


def summary(record: dict[str, Any]) -> list[str]:
    """The table of README.md: some workloads down, proxies across, each cell the cost."""
    names = list(record["versions"])
    out = [f"| | unit | {' | '.join(names)} |", "|---|---|" + "---:|" * len(names)]
    for name, what in SHOWN.items():
        workload = record["workloads"][name]
        cells = [f"{found['cost']:.1f}" if (found := workload["results"].get(peer)) else "–" for peer in names]
        out.append(f"| {what} | {workload['unit']} | {' | '.join(cells)} |")
    return out


def lines(record: dict[str, Any]) -> list[str]:
    """All figures: workloads down, proxies across, each cell the cost and lbcore's ratio to it."""
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
    # Runs of some workloads leave the figures of the others.
    earlier: dict[str, list[str]] = {}
    for name, workload in record["workloads"].items():
        run = workload.get("run", record)
        if any(run[key] != record[key] for key in ("machine", "rounds", "seconds")):
            own = f"{run['rounds']} rounds of {run['seconds']} s, {run['machine']['date']}"
            earlier.setdefault(f"{own}, Linux {run['machine']['kernel']}", []).append(name)
    others = [f"Of an earlier run ({own}): {', '.join(names)}." for own, names in earlier.items()]
    text = [
        "In brackets: lbcore's cost as a multiple of that proxy's; below 1 lbcore is cheaper.",
        how,
        where,
        f"{shown}.",
        *others,
    ]
    return [*out, "", *textwrap.wrap(" ".join(text), 118, break_on_hyphens=False)]


def main() -> None:
    record = json.loads((ROOT / "bench/results/proxies.json").read_text())
    for name, table in (("README.md", summary(record)), ("docs/performance.md", lines(record))):
        path = ROOT / name
        before, _, rest = path.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        path.write_text(before + "\n".join([BEGIN, *table, END]) + after)


if __name__ == "__main__":
    main()
