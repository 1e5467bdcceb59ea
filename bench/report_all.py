"""The whole suite and one report: `python -m bench.report_all [--only micro,curves] [--rounds 3] [--render]`.

Writes bench/results/report.html, a page that needs nothing else: machine and versions, tables, charts as inline SVG.
Parts that were not run this time are taken from the results that are there. A peer that is not there is an error.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from bench import chart, compare, curves, defects, gallery, machine, mirrors, quality, reload, report, scaling
from bench.micro import __main__ as micro
from bench.options import positive
from bench.peers import PEERS
from bench.workloads import WORKLOADS

VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'
WIDE = '<div class="wide" tabindex="0">'  # what is wider than a phone scrolls in its own box, also by the keyboard
RESULTS = Path(__file__).parent / "results"
STYLE = """
body { font-family: sans-serif; max-width: 1100px; margin: 2em auto; color: #222; line-height: 1.4 }
table { border-collapse: collapse; margin: 1em 0; font-size: 13px } td, th { padding: 3px 9px; text-align: left }
tr:nth-child(even) { background: #f4f6f8 } th { border-bottom: 2px solid #888 }
caption { font-weight: bold; text-align: left }
svg { max-width: 100%; height: auto; border: 1px solid #e4e4e4; margin: 6px 0 } .missing { color: #a00 }
.wide { overflow-x: auto } nav li { margin: 4px 0 } a { color: #1f5f9e }
@media (max-width: 700px) { body { margin: 1em } h1 { font-size: 1.4em } }
@media (prefers-color-scheme: dark) {
  body { background: #12181e; color: #e6edf2 } tr:nth-child(even) { background: #1c252d } svg { border-color: #33404b }
  a { color: #7fb8ea } .missing { color: #ff9a8a }
}
"""


def table_html(table: Table) -> str:
    """A table made for the terminal, as HTML."""

    def plain(cell: object) -> str:
        return escape(cell.plain if isinstance(cell, Text) else str(cell))

    columns = [list(column.cells) for column in table.columns]
    titles = [plain(column.header) for column in table.columns]
    head = "".join(f"<th>{title}</th>" if title else "<td></td>" for title in titles)
    rows = "".join(
        "<tr>" + "".join(f"<td>{plain(cell)}</td>" for cell in row) + "</tr>" for row in zip(*columns, strict=True)
    )
    title = f"<caption>{plain(table.title)}</caption>" if table.title else ""
    return f'{WIDE}<table>{title}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def tables_html(tables: Iterable[Table]) -> str:
    return "\n".join(map(table_html, tables))


# What each part shows of its result


def show_proxies(record: dict[str, Any]) -> str:
    parts = []
    for name, found in record["workloads"].items():
        if name in WORKLOADS:
            parts.append(report.chart(WORKLOADS[name], found["results"], record["machine"]))
            parts.append(table_html(report.table(WORKLOADS[name], found["results"])))
    return "\n".join(parts)


def show_features(record: dict[str, Any]) -> str:
    values = {name: one["cost"] / record["results"]["plain"]["cost"] for name, one in record["results"].items()}
    return chart.bars(
        "What features cost", "CPU per request as a multiple of the plain configuration's", values, " ×", 1.0
    )


def show_curves(record: dict[str, Any]) -> str:
    parts = []
    for name, found in record["curves"].items():
        parts += curves.charts(name, found)
        parts.append(table_html(curves.table(name, found)))
    return "\n".join(parts)


def show_micro(record: dict[str, Any]) -> str:
    """A curve over servers for each kind of job, and all tables."""
    series: dict[str, list[tuple[float, float]]] = {}
    empty = record["results"]["empty_call"]["ns_per_op"]
    for name, one in record["results"].items():
        if found := re.fullmatch(r"pick_(\w+?)_n(\d+)", name):
            kind = found[1]
            if not kind.startswith("many_") and not kind.endswith("_int"):
                series.setdefault(kind, []).append((float(found[2]), one["ns_per_op"] / empty))
    own = {name: sorted(points) for name, points in series.items() if name[0].isupper()}
    others = {name: sorted(set(points)) for name, points in series.items() if not name[0].isupper()}
    shown = []
    for title, lines in (("lbcore's selectors", own), ("Rivals on PyPI, and the standard library", others)):
        if lines:
            note = "a pick from Python, as a multiple of an empty method call of a Cython class"
            text = chart.lines(title, note, lines, x="servers", y="empty calls", log_x=True, log_y=True)
            shown.append(text)
    return "\n".join([*shown, tables_html(micro.tables(record))])


def show_defects(record: list[dict[str, Any]]) -> str:
    return table_html(defects.table(record))


def show_scaling(record: dict[str, Any]) -> str:
    return table_html(scaling.table(record))


PARTS: dict[str, tuple[str, list[str], Callable[[Any], str]]] = {
    "proxies": ("Proxies side by side", ["bench.proxies"], show_proxies),
    "features": ("What features of lbcore cost", ["bench.features"], show_features),
    "curves": ("What a request costs as something grows", ["bench.curves"], show_curves),
    "reload": ("Reload under load", ["bench.reload"], lambda record: table_html(reload.table(record))),
    "scaling": ("Workers", ["bench.scaling"], show_scaling),
    "mirrors": ("Mirrors", ["bench.mirrors"], lambda record: table_html(mirrors.table(record))),
    "defects": ("Shares, as real proxies give them", ["bench.defects"], show_defects),
    "quality": (
        "How well selectors keep to their shares",
        ["bench.quality"],
        lambda record: tables_html(quality.tables(record)),
    ),
    "micro": ("Single functions", ["bench.micro"], show_micro),
}


def run(name: str, rounds: int | None, seconds: int | None) -> None:
    """One part, in a process of its own, so that none is measured in the debris of another."""
    command = [sys.executable, "-m", *PARTS[name][1]]
    if name in ("proxies", "features", "curves", "scaling", "mirrors"):
        command += ["--rounds", str(rounds)] if rounds else []
        command += ["--seconds", str(seconds)] if seconds else []
    if name == "proxies":
        command += ["--proxy", ",".join(PEERS)]
    print(" ".join(command[1:]), flush=True)
    if subprocess.run(command, check=False).returncode:
        raise RuntimeError(f"{name} failed")


def bars_html() -> str:
    """The bars of a pick and the comparison with the baseline, which need no peer."""
    if not compare.BASELINE.exists() or not (RESULTS / "micro.json").exists():
        return ""
    baseline = json.loads(compare.BASELINE.read_text())
    found = compare.worse(baseline, json.loads((RESULTS / "micro.json").read_text()))
    band = f"{100 * baseline['band']:.0f} %"
    if not found:
        return f"<p>All {len(baseline['figures'])} figures are within the noise of the baseline, {band}.</p>"
    rows = "".join(f"<tr><td>{'</td><td>'.join(map(escape, row))}</td></tr>" for row in found)
    return f"<p>Worse than the baseline by more than its noise, {band}:</p><table>{rows}</table>"


def versions(names: Sequence[str]) -> dict[str, str]:
    if missing := [name for name in names if PEERS[name].path is None]:
        raise RuntimeError(f"not installed: {', '.join(missing)}; see docs/benchmarks.md")
    return {name: PEERS[name].version(str(PEERS[name].path)) for name in names}


def summary() -> str:
    """What a request costs beside each peer: the least, the middle and the greatest ratio over all workloads."""
    path = RESULTS / "proxies.json"
    if not path.exists():
        return ""
    ratios: dict[str, list[float]] = {}
    for found in json.loads(path.read_text())["workloads"].values():
        costs = {name: result["cost"] for name, result in found["results"].items()}
        for name, cost in costs.items():
            if name != "lbcore" and "lbcore" in costs and cost:
                ratios.setdefault(name, []).append(costs["lbcore"] / cost)
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{len(found)}</td><td>{min(found):.2f} ×</td>"
        f"<td>{statistics.median(found):.2f} ×</td><td>{max(found):.2f} ×</td></tr>"
        for name, found in ratios.items()
    )
    head = "<tr><th>beside</th><th>workloads</th><th>least</th><th>median</th><th>greatest</th></tr>"
    text = "<p>What lbcore costs as a multiple of each peer's cost, over all workloads; below 1 lbcore is cheaper.</p>"
    return f"<h2>Summary</h2>{text}{WIDE}<table>{head}{rows}</table></div>"


def page(facts: Mapping[str, str]) -> str:
    """The report of all results that are stored. `facts`: of the machine, and the versions of the proxies."""
    parts = ["<h1>lbcore: benchmarks</h1>"]
    parts.append(
        "<table>" + "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in facts.items()) + "</table>"
    )
    parts.append(summary())
    parts.append("<nav><h2>Contents</h2><ul>")
    parts += [f'<li><a href="#{name}">{escape(title)}</a></li>' for name, (title, _, _) in PARTS.items()]
    parts.append('<li><a href="#gallery">Gallery</a></li></ul></nav>')
    for name, (title, command, show) in PARTS.items():
        parts.append(f'<h2 id="{name}">{escape(title)}</h2>')
        path = RESULTS / f"{name}.json"
        if not path.exists():
            parts.append(f'<p class="missing">Not run: python -m {command[0]}</p>')
            continue
        record = json.loads(path.read_text())
        made = record.get("machine", {}) if isinstance(record, dict) else {}
        where = ", ".join(f"{key} {value}" for key, value in made.items())
        parts.append(f"<p>python -m {command[0]}{': ' + escape(where) if where else ''}</p>")
        parts.append(show(record))
        if name == "micro":
            parts.append(bars_html())
    parts.append('<h2 id="gallery">Gallery</h2>')
    parts += [path.read_text() for path in sorted(gallery.FOLDER.glob("*.svg"))]
    title = "<title>lbcore: benchmarks</title>"
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8">{VIEWPORT}{title}<style>{STYLE}</style></head>'
    return head + "<body><main>" + "\n".join(parts) + "</main></body></html>\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the whole suite, and write one report.")
    parser.add_argument("--only", default="", help="comma-separated parts; default: all")
    parser.add_argument(
        "--render", action="store_true", help="run nothing, make the page of the results that are there"
    )
    parser.add_argument("--rounds", type=positive, help="default: what each part takes; 1 shows that all works")
    parser.add_argument("--seconds", type=positive, help="of a round; default: what each part takes")
    options = parser.parse_args()
    wanted = [name for name in options.only.split(",") if name] or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        sys.exit(f"unknown parts: {', '.join(unknown)}; known: {', '.join(PARTS)}")
    try:
        facts = {**machine.describe(), **versions(list(PEERS))}
        if not options.render:
            for name in wanted:
                run(name, options.rounds, options.seconds)
        (RESULTS / "report.html").write_text(page(facts))
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    print(RESULTS / "report.html")


if __name__ == "__main__":
    main()
