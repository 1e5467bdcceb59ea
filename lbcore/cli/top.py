"""`lbcore top`: what every server of a running instance does now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from lbcore.cli.asking import Look, viewing
from lbcore.cli.base import AskingCommand

if TYPE_CHECKING:
    from lbcore.remote.client import ApiClient

COLUMNS = ("service", "server", "status", "weight", "share", "rate", "errors", "latency", "in-flight", "requests")


@click.command(cls=AskingCommand)
@click.option(
    "--sort", "column", default="service", type=click.Choice(COLUMNS), metavar="COLUMN",
    help=f"One of {', '.join(COLUMNS)}; default: service. Of numbers the highest is first.",
)  # fmt: skip
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option("--limit", default=0, type=click.IntRange(0), help="Show so many servers; 0: all.")
@viewing(always=True)
def top(column: str, reverse: bool, limit: int, view: Any) -> None:
    """Show what every server of a running instance does, layer 7 and 4, until interrupted.

    For each server: its weight, its share of what its service got since the last look, requests per second
    (connections of TCP, sessions of UDP), errors per second (5xx, no answer, no connection), the mean time to first
    byte in ms (if metrics, an access log or a strategy measure it), what is in flight, and requests in all.

    \b
    Exit codes:
      0  it was shown
      1  the instance cannot be asked
    """
    from lbcore.remote.listed import Rates
    from lbcore.remote.rates import rates

    before: list[dict[str, Any]] = []
    looked = 0.0

    def look(client: ApiClient) -> Look:
        nonlocal before, looked
        if not looked:
            before, looked = client.ask("/api/tree"), time.monotonic()
            time.sleep(view.seconds)
        now, at = client.ask("/api/tree"), time.monotonic()
        rows = rates(before, now, at - looked, column, reverse)
        before, looked = now, at
        shown = rows[:limit] if limit else rows
        return Look({"servers": shown, "total": len(rows)}, [Rates(shown, len(rows) - len(shown))])

    view.show(look)
