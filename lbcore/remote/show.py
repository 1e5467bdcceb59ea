"""Services and their health as trees and tables for a terminal. No I/O."""

from __future__ import annotations

from typing import Any, TextIO

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from rich.tree import Tree

Node = dict[str, Any]
UNLIMITED = 100_000  # columns


def console_for(output: TextIO) -> Console:
    """The console for an output; lines are wrapped only for a terminal."""
    return Console(file=output, soft_wrap=False) if output.isatty() else Console(file=output, width=UNLIMITED)


def problem_lines(state: Node) -> list[Text]:
    """The problems of an instance, and the traffic that each concerns."""
    lines = []
    for problem in state["problems"]:
        mark = ("LOST ", "bold red") if problem["severity"] == "lost" else ("DEGRADED ", "bold yellow")
        lines.append(Text.assemble(mark, problem["text"]))
        lines += [Text(f"  {traffic}", "dim") for traffic in problem["traffic"]]
    for key, name in (("accessLogLinesLost", "access log"), ("logLinesLost", "log")):
        if count := state[key]:
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
    text.append("● ", "green" if up else "red")
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
        text.append(f" overridden: {node['overriddenWeight']}", "yellow")
    if "slowStartPercent" in node:
        text.append(f" slow start: {node['slowStartPercent']} %", "yellow")
    if "maxConnections" in node:
        text.append(f" {node['inFlight']} of {node['maxConnections']} in flight", "dim")
    if "queue" in node and (waiting := node["queue"]["waiting"]):
        text.append(f" {waiting} waiting", "yellow")
    if "requests" in node:
        text.append(f" {node['requests']} requests", "dim")
    if "mirrored" in node:
        text.append(" " + ", ".join(f"{count} {result}" for result, count in node["mirrored"].items()), "dim")
    if not up:
        text.append(f" DOWN: {node.get('cause', '')}", "red")
    return text


def servers_of(roots: list[Node]) -> dict[tuple[str, str], Node]:
    """All servers, by service and URL."""
    found: dict[tuple[str, str], Node] = {}
    below = list(roots)
    while below:
        node = below.pop()
        below += node.get("children", [])
        for server in node.get("servers", []):
            found[node["name"], server["url"]] = server
    return dict(sorted(found.items()))


def rates(before: list[Node], now: list[Node], seconds: float) -> Table:
    """Requests per second of every server between two states."""
    columns = [Column(name, overflow="fold") for name in ("service", "server", "status")]
    table = Table(*columns, "weight", "in flight", "requests/s", "requests")
    old = servers_of(before)
    for (service, url), server in servers_of(now).items():
        count = server["requests"] - old.get((service, url), server)["requests"]
        status = Text(server["status"], "green" if server["status"] == "UP" else "red")
        numbers = (server["effectiveWeight"], server["inFlight"], f"{count / seconds:.1f}", server["requests"])
        table.add_row(service, url, status, *map(str, numbers))
    return table
