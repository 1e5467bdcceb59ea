"""Open sessions as a table for a terminal. No I/O."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from lbcore.remote.show import plain_table

UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))
NUMBERS = ("age", "idle", "in", "out", "streams")


def lasting(milliseconds: int | None) -> str:
    """A time in its largest unit, or two: 4s, 3m12s, 2d."""
    if milliseconds is None:
        return "-"
    seconds = milliseconds // 1000
    for place, (unit, name) in enumerate(UNITS):
        if seconds >= unit:
            rest = seconds % unit // UNITS[place + 1][0] if name in "hm" else 0
            return f"{seconds // unit}{name}" + (f"{rest}{UNITS[place + 1][1]}" if rest else "")
    return "0s"


def size(count: int) -> str:
    """A number of bytes: 512, 3.2k, 1.5M."""
    number, units = float(count), "kMGT"
    place = 0
    while number >= 1000 and place < len(units):
        number, place = number / 1000, place + 1
    return (
        f"{number:.0f}{units[place - 1 : place]}" if place == 0 or number >= 100 else f"{number:.1f}{units[place - 1]}"
    )


def sessions_table(rows: list[dict[str, Any]]) -> Table:
    """Sessions, one below the other."""
    names = ("id", "kind", "client", "entry point", "router", "service", "server")
    table = plain_table(*names, *NUMBERS, numbers=NUMBERS)
    for row in rows:
        texts = [row["id"], row["kind"] + (" TLS" if row["tls"] else ""), row["client"] or "-", row["entryPoint"]]
        texts += [row.get(key, "-") for key in ("router", "service", "server")]
        times = [lasting(row["ageMs"]), lasting(row.get("idleMs"))]
        table.add_row(*texts, *times, size(row["bytesIn"]), size(row["bytesOut"]), str(row.get("streams", "-")))
    return table
