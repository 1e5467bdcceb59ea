"""`lbcore memory`: the memory of the processes of a running instance, and of what is bounded in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lbcore.cli.asking import Look, View, viewing
from lbcore.cli.base import AskingCommand

if TYPE_CHECKING:
    from rich.table import Table

    from lbcore.remote.client import ApiClient

SIZES = ("resident", "proportional", "private", "swapped")
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@click.command(cls=AskingCommand)
@viewing()
def memory(view: View) -> None:
    """Show what memory each process of a running instance uses, and how much of what is bounded is in use.

    Resident memory counts a page that processes share in each of them; proportional memory counts it once in all, so
    its sum is what the instance uses. Allocated and free are libc's heap; kept is what a worker keeps for its next use;
    pooled are its connections to servers that can take a request. The kernel walks through all pages for a report, so
    it is made when asked, and at most once a second.

    \b
    Exit codes:
      0  it is shown
      1  the instance cannot be asked
    """

    def look(client: ApiClient) -> Look:
        found = client.ask("/api/memory")
        return Look(found, [_table(found), *_lines(found)])

    view.show(look)


def _table(found: dict[str, Any]) -> Table:
    from lbcore.remote.show import plain_table

    numbers = (*SIZES, "allocated", "free", "kept", "clients", "pooled")
    table = plain_table("process", "pid", *numbers, "", numbers=("pid", *numbers))
    for each in found["processes"]:
        heap, kept, connections = each.get("heap") or {}, each.get("kept") or {}, each.get("connections") or {}
        own = kept["bufferBytes"] + kept["blockBytes"] if kept else None
        sizes = [*(each[f"{name}Bytes"] for name in SIZES), heap.get("allocatedBytes"), heap.get("freeBytes"), own]
        counts = [str(connections.get(name, "-")) for name in ("clients", "pooled")]
        table.add_row(each["name"], str(each["pid"]), *map(size, sizes), *counts, each.get("problem", ""))
    return table


def _lines(found: dict[str, Any]) -> list[str]:
    shared, objects, queues = found["shared"], found["configuration"], found["queues"]
    services, servers, keys, bodies = (shared[name] for name in ("services", "servers", "keys", "bodies"))
    counted = ", ".join(f"{name} {objects[name]}" for name in ("routers", "services", "middlewares", "servers"))
    return [
        f"in all: {size(found['totalBytes'])}",
        f"shared by all: {size(shared['residentBytes'])} of {size(shared['mappedBytes'])} reserved;"
        f" {services['used']} of {services['most']} places of routers and services,"
        f" {servers['used']} of {servers['most']} of servers; {keys['overTime']} keys of limits over time,"
        f" {keys['held']} of requests in flight",
        f"bodies that are kept: {size(bodies['usedBytes'])} of {size(bodies['mostBytes'])}",
        f"queues: {queues['waiting']} of {queues['most']} requests wait in {queues['count']}",
        f"configuration {objects['generation']}, in each process: {counted}",
    ]


def size(value: int | None) -> str:
    """A number of bytes for people; `-`: not known."""
    if value is None:
        return "-"
    number, unit = float(value), 0
    while number >= 1024 and unit < len(UNITS) - 1:
        number /= 1024
        unit += 1
    return f"{number:.0f} {UNITS[unit]}" if unit == 0 or number >= 100 else f"{number:.1f} {UNITS[unit]}"
