"""Services and their health as trees and tables for a terminal. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text
from rich.tree import Tree

from lbcore.remote.printable import printable

Node = dict[str, Any]
UNLIMITED = 100_000  # columns
MOST_TRAFFIC = 10  # routers that are named of a problem


class PlainConsole(Console):
    """A console to which texts say nothing: names and rules are written by whoever starts a container."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def console_for(output: TextIO) -> Console:
    """The console for an output; lines are wrapped only for a terminal."""
    return PlainConsole(file=output, soft_wrap=False) if output.isatty() else PlainConsole(file=output, width=UNLIMITED)


def problem_lines(state: Node) -> list[Text]:
    """The problems of an instance, and the traffic that each concerns: some of the routers, and how many more."""
    lines = []
    for problem in state["problems"]:
        mark = ("LOST ", "bold red") if problem["severity"] == "lost" else ("DEGRADED ", "bold yellow")
        lines.append(Text.assemble(mark, problem["text"]))
        if "file" in problem and problem["file"] not in problem["text"]:
            lines.append(Text(f"  {problem['file']}" + (f":{problem['line']}" if "line" in problem else ""), "dim"))
        lines += [Text(f"  {traffic}", "dim") for traffic in problem["traffic"][:MOST_TRAFFIC]]
        if (more := len(problem["traffic"]) - MOST_TRAFFIC) > 0:
            lines.append(Text(f"  and {more} more router{'' if more == 1 else 's'}", "dim"))
    for key, name in (("accessLogLinesLost", "access log"), ("logLinesLost", "log")):
        going_on = any(problem["object"] == f"lines of the {name}" for problem in state["problems"])
        if (count := state[key]) and not going_on:
            what = "line was" if count == 1 else "lines were"
            lines.append(Text(f"{count} {what} lost of the {name}", "yellow"))
    if count := state["connectionsShed"]:
        what = "connection was" if count == 1 else "connections were"
        lines.append(Text(f"{count} idle {what} closed for want of descriptors", "yellow"))
    return lines


def provider_lines(state: Node) -> list[Text]:
    """One line for each provider, if there is another than files, or if one lacks something."""
    providers = state.get("providers", [])
    if not any(each["problems"] or each["name"] != "file" for each in providers):
        return []
    lines = []
    for each in providers:
        count = each["objects"]
        read = f"read {each['ageSeconds']:.0f} s ago" if each["lastSuccess"] else "never read"
        text = Text(f"provider {each['name']}: {count} object{'' if count == 1 else 's'}, {read}")
        if each["problems"]:
            number = len(each["problems"])
            text.append(f", {number} problem{'' if number == 1 else 's'}", "yellow")
        lines.append(text)
    return lines


def fleet_lines(state: Node) -> list[Text]:
    """One line about the instances that serve the same, if there are any."""
    found = state.get("fleet")
    if not found:
        return []
    count = found["instances"]
    text = Text(f"fleet {found['name']}: {count} instance{'' if count == 1 else 's'}")
    if found["problem"]:
        text.append(f", {found['problem']}: this instance decides alone", "yellow")
    return [text]


def trees(roots: list[Node]) -> list[Tree]:
    """One tree for each service that routers lead to."""
    found = []
    for root in roots:
        tree = Tree(label(root))
        _add(tree, root)
        found.append(tree)
    return found


def _add(tree: Tree, node: Node) -> None:
    for part in [*node.get("children", []), *node.get("servers", [])]:
        _add(tree.add(label(part)), part)


def label(node: Node) -> Text:
    """Name, status and weight of a node, and the reason why it is down."""
    up = node["status"] == "UP"
    text = Text()
    text.append("● ", "green" if up and "unreachedSince" not in node else "red")
    text.append(str(node.get("url") or node.get("key") or node["name"]), "bold")
    if "type" in node:
        text.append(f" {node['type']}", "dim")
    if "role" in node:
        text.append(f" {node['role']}")
    if "percent" in node:
        text.append(f" {node['percent']} %")
    if "weight" in node:
        text.append(f" weight {node['effectiveWeight']}")
        if node["effectiveWeight"] != node["weight"]:
            text.append(f" (configured {node['weight']})", "yellow")
    if "overriddenWeight" in node:
        weight = node["overriddenWeight"]
        text.append(f" (overridden: {weight})" if weight else " (drained)", "yellow")
    if "slowStartPercent" in node:
        text.append(f" (slow start: {node['slowStartPercent']} %)", "yellow")
    if "maxConnections" in node:
        text.append(f" {node['inFlight']} of {node['maxConnections']} in flight", "dim")
    if "queue" in node and (waiting := node["queue"]["waiting"]):
        text.append(f" {waiting} waiting", "yellow")
    if "requests" in node:
        text.append(f" {node['requests']} request{'' if node['requests'] == 1 else 's'}", "dim")
    if "mirrored" in node:
        text.append(" " + ", ".join(f"{count} {result}" for result, count in node["mirrored"].items()), "dim")
    if "unreachedSince" in node:
        text.append(f" cannot be reached since {node['unreachedSince']}", "red")
    if not up:
        text.append(f" DOWN: {node.get('cause', '')}", "red")
    return text


def all_services(roots: list[Node]) -> list[tuple[str, Node]]:
    """All services, each once, with their layer."""
    found: dict[tuple[str, str], Node] = {}
    below = [(root.get("layer", "http"), root) for root in roots]
    while below:
        layer, node = below.pop()
        below += [(layer, child) for child in node.get("children", [])]
        found.setdefault((layer, node["name"]), node)
    return [(layer, node) for (layer, _), node in sorted(found.items())]


def parts_of(node: Node) -> list[Node]:
    """The members of a service: children or servers."""
    return [*node.get("children", []), *node.get("servers", [])]


def key_of(part: Node) -> str:
    """The name of a member in its service."""
    return str(part.get("key") or part.get("url"))


def total(node: Node, key: str) -> int:
    """The sum of a number over all servers of a node."""
    return int(node.get(key, 0)) + sum(total(part, key) for part in parts_of(node))


def members_of(node: Node) -> list[Node]:
    """The members of a service with their weights, the share of its requests that each has had so far, and what is in
    flight there."""
    parts = parts_of(node)
    requests = sum(part.get("requests", 0) for part in parts)
    keys = ("status", "weight", "effectiveWeight", "overriddenWeight", "slowStartPercent", "role", "cause")
    return [
        {
            "service": node["name"],
            "member": key_of(part),
            **{key: part[key] for key in keys if key in part},
            "share": round(part.get("requests", 0) / requests, 4) if requests else None,
            "inFlight": total(part, "inFlight"),
        }
        for part in parts
    ]


def overridden(roots: list[Node]) -> list[Node]:
    """The members whose weights are overridden."""
    rows = [row for _, node in all_services(roots) for row in members_of(node)]
    return [row for row in rows if "overriddenWeight" in row]


def weights_table(rows: list[Node]) -> Table:
    """Members with their weights."""
    numbers = ("weight", "configured", "share", "in flight")
    table = plain_table("service", "member", "status", *numbers, "", numbers=numbers)
    for row in rows:
        notes = []
        if "overriddenWeight" in row:
            notes.append(f"overridden: {row['overriddenWeight']}")
        if "slowStartPercent" in row:
            notes.append(f"slow start: {row['slowStartPercent']} %")
        notes += [str(row[key]) for key in ("role", "cause") if key in row]
        share = "-" if row["share"] is None else f"{row['share']:.1%}"
        shown = [str(row.get(key, "-")) for key in ("effectiveWeight", "weight")]
        shown += [share, str(row["inFlight"])]
        table.add_row(row["service"], row["member"], status_text(row["status"]), *shown, "; ".join(notes))
    return table


def status_text(status: str) -> Text:
    return Text(status, "green" if status == "UP" else "red")


def plain_table(*names: str, numbers: Sequence[str] = ()) -> Table:
    """A table without lines between its columns, so that other programs read it, too. A terminal folds texts."""
    columns = [
        Column(name, justify="right", no_wrap=True)
        if name in numbers
        else Column(name, overflow="fold", no_wrap=name in ("layer", "status"))
        for name in names
    ]
    return Table(*columns, box=None, pad_edge=False, header_style="bold", padding=(0, 1))
