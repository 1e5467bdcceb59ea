"""The highest numbers of an instance as a table for a terminal. I/O: none but by the client that is given."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from rich.table import Table
from rich.text import Text

from lbcore.remote.show import Node, plain_table

if TYPE_CHECKING:
    from lbcore.remote.client import ApiClient

PER_PAGE = 1000
TITLES = {
    "inFlight": "most in flight",
    "queue": "longest queue",
    "rate": "most per second",
    "connections": "most connections",
    "connectionRate": "most new connections per second",
}
KINDS = {"entrypoint": "entry point", "member": "server"}


def every_maximum(client: ApiClient, sort: str, kind: str, limit: int) -> tuple[int, list[Node]]:
    """Since when they count (Unix time in ms), and the objects that have any.

    kind   of these alone; "": of all.
    limit  so many; 0: all.
    """
    rows: list[Node] = []
    page = 1
    while True:
        asked = {"sort": sort, "page": page, "per_page": min(limit or PER_PAGE, PER_PAGE), "kind": kind}
        found = client.ask(f"/api/maxima?{urlencode(asked)}")
        rows += found["items"]
        if page >= found["pages"] or (limit and len(rows) >= limit):
            return int(found["since"]), rows[:limit] if limit else rows
        page += 1


def since_line(since_ms: int) -> Text:
    return Text(f"since {_moment(since_ms)}")


def maxima_table(rows: list[Node]) -> Table:
    """A line for each object: each number with the time at which it was seen. Empty columns are left out."""
    shown = [key for key in TITLES if any(key in row["maxima"] for row in rows)]
    numbers = [TITLES[key] for key in shown]
    table = plain_table("kind", "name", *numbers, numbers=numbers)
    for row in rows:
        cells = [_cell(row["maxima"].get(key)) for key in shown]
        table.add_row(_kind(row), _name(row), *cells)
    return table


def _kind(row: Node) -> str:
    layer = row.get("layer", "http")
    kind = str(KINDS.get(row["kind"]) or row["kind"])
    return kind if layer == "http" else f"{layer} {kind}"


def _name(row: Node) -> str:
    if row["kind"] != "member":
        return str(row["name"])
    service = row["service"].partition("/services/")[2]
    return f"{service} {row['name']}"


def _cell(found: Node | None) -> str:
    return "-" if found is None else f"{found['most']:.10g} at {_moment(found['at'])}"


def _moment(unix_ms: int) -> str:
    """A time of day, with the date unless that is today's."""
    then = time.localtime(unix_ms / 1000)
    is_today = then[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S", then)
