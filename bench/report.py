"""Results as a table for people, as JSON for programs, and as a chart."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.picture_style import STYLE
from bench.workloads import Sample, Workload

BAR, GAP, LEFT, WIDTH = 18, 8, 110, 460
COLOURS = ("#2f6fb3", "#9cc3e6")


def summarise(samples: Sequence[Sample]) -> dict[str, Any]:
    """Medians over the rounds, and the spread of the cost."""
    costs = [sample.cost for sample in samples]
    loads = [sample.load for sample in samples if sample.load is not None]
    summary: dict[str, Any] = {
        "cost": statistics.median(costs),
        "user": statistics.median(sample.user for sample in samples),
        "system": statistics.median(sample.system for sample in samples),
        "lowest": min(costs),
        "highest": max(costs),
        "rounds": len(samples),
    }
    if any(sample.part for sample in samples):
        summary["part"] = statistics.median(sample.part for sample in samples)
    if loads:
        summary["requests_per_second"] = statistics.median(load.per_second for load in loads)
        summary["p50_ms"] = statistics.median(load.p50_ms for load in loads)
        summary["p99_ms"] = statistics.median(load.p99_ms for load in loads)
    return summary


def table(workload: Workload, results: Mapping[str, Mapping[str, Any]]) -> Table:
    """One workload; ratios are to lbcore where it ran."""
    shown = Table("proxy", workload.unit, "user", "system", "rounds", "requests/s", "p50 ms", "p99 ms", "lbcore is")
    encoded = any("part" in result for result in results.values())
    if encoded:
        shown.add_column("encoded to")
    shown.title = f"{workload.name}: {workload.what}"
    own = results.get("lbcore", {}).get("cost")
    for name, result in sorted(results.items(), key=lambda item: item[1]["cost"]):
        ratio = f"{own / result['cost']:.2f} × {name}" if own and name != "lbcore" else ""
        load = [
            f"{result[key]:{form}}" if key in result else ""
            for key, form in (("requests_per_second", ",.0f"), ("p50_ms", ".2f"), ("p99_ms", ".2f"))
        ]
        spread = f"{result['lowest']:.1f}–{result['highest']:.1f}"
        part = [f"{result['part']:.1%}"] if encoded else []
        figures = [f"{result[key]:.1f}" for key in ("cost", "user", "system")]
        shown.add_row(name, *figures, spread, *load, ratio, *part)
    return shown


def print_tables(tables: Sequence[Table]) -> None:
    console = Console(width=140)
    for one in tables:
        console.print(one)


def chart(workload: Workload, results: Mapping[str, Mapping[str, Any]], machine: Mapping[str, str]) -> str:
    """Horizontal bars, user and system time, as SVG."""
    ranked = sorted(results.items(), key=lambda item: item[1]["cost"])
    longest = max(result["cost"] for _, result in ranked)
    height = 60 + len(ranked) * (BAR + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 80}" height="{height}" '
        f'viewBox="0 0 {LEFT + WIDTH + 80} {height}" font-family="sans-serif" font-size="12">',
        STYLE,
        f'<rect width="{LEFT + WIDTH + 80}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="18" font-weight="bold">{escape(workload.name)}: {escape(workload.what)}</text>',
        f'<text x="8" y="34" fill="#555">{escape(workload.unit)}, less is better; dark user, light system. '
        f"{escape(machine['processor'])}, {escape(machine['date'])}</text>",
    ]
    for index, (name, result) in enumerate(ranked):
        top = 48 + index * (BAR + GAP)
        scale = WIDTH / longest
        split = result["user"] * scale if result["user"] + result["system"] else result["cost"] * scale
        parts.append(f'<text x="{LEFT - 8}" y="{top + 13}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{LEFT}" y="{top}" width="{split:.1f}" height="{BAR}" fill="{COLOURS[0]}"/>')
        rest = result["system"] * scale
        parts.append(f'<rect x="{LEFT + split:.1f}" y="{top}" width="{rest:.1f}" height="{BAR}" fill="{COLOURS[1]}"/>')
        parts.append(f'<text x="{LEFT + result["cost"] * scale + 6:.1f}" y="{top + 13}">{result["cost"]:.1f}</text>')
    return "\n".join([*parts, "</svg>", ""])


def read(folder: Path) -> dict[str, Any]:
    """The record that is stored; empty when there is none."""
    file = folder / "proxies.json"
    return json.loads(file.read_text()) if file.exists() else {}


def merged(stored: Mapping[str, Any], run: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """The record of a run, with the workloads of the stored one that it did not measure.

    What the record as a whole says (machine, versions, rounds) is of the run that measured most of its workloads: each
    says in `run` what it was measured with.
    """
    whole = {key: stored[key] for key in ("machine", "versions", "rounds", "seconds") if key in stored}
    before = stored.get("workloads", {})
    kept = {name: {"run": whole, **before[name]} for name in before if name not in run["workloads"]}
    workloads = kept | dict(run["workloads"])
    ranked = {name: number for number, name in enumerate(order)}
    names = sorted(workloads, key=lambda name: ranked.get(name, len(ranked)))
    of_most = whole if len(kept) > len(run["workloads"]) else run
    return {**run, **of_most, "workloads": {name: workloads[name] for name in names}}


def save(folder: Path, record: Mapping[str, Any], charts: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "proxies.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    for name, text in charts.items():
        (folder / f"{name}.svg").write_text(text)
