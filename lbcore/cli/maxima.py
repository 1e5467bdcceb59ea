"""`lbcore maxima`: the highest numbers that a running instance has seen, and their reset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lbcore.cli.asking import TOKEN, Look, needs_token, viewing
from lbcore.cli.base import AskingCommand, fail

if TYPE_CHECKING:
    from lbcore.remote.client import ApiClient

KINDS = ("entrypoint", "router", "service", "server")
COLUMNS = {
    "name": "name",
    "in-flight": "inFlight",
    "queue": "queue",
    "rate": "rate",
    "connections": "connections",
    "connection-rate": "connectionRate",
}


@click.command(cls=AskingCommand)
@click.option(
    "--sort", "column", default="name", type=click.Choice([*COLUMNS]), metavar="COLUMN",
    help=f"One of {', '.join(COLUMNS)}; default: name. Of numbers the highest is first.",
)  # fmt: skip
@click.option("--kind", type=click.Choice(KINDS), help="Of these objects alone.")
@click.option("--limit", default=0, type=click.IntRange(0), help="Show so many objects; 0: all.")
@click.option("--reset", is_flag=True, help="Begin anew with all of them. Needs the token.")
@TOKEN
@viewing()
def maxima(column: str, kind: str | None, limit: int, reset: bool, token: str, view: Any) -> None:
    """Show the highest numbers of each object since the start, or since the last reset, and when they were seen.

    What is in flight, the length of the queue, and requests of one second (connections of TCP, sessions of UDP); of
    entry points also open connections, and new ones of one second. lbcore looks once a second: what rises and falls
    between two looks is not seen.

    \b
    Exit codes:
      0  they are shown, or reset
      1  the instance cannot be asked, or refuses
    """
    from lbcore.remote.client import ApiClient, ApiError
    from lbcore.remote.maxima import every_maximum, maxima_table, since_line

    if reset:
        needs_token(token)
        try:
            answer = ApiClient(view.url, token).ask("/api/maxima", "DELETE")
        except ApiError as error:
            fail(str(error))
        if not view.watch:
            import json

            click.echo(json.dumps(answer, indent=2) if view.as_json else answer["message"])
            return

    def look(client: ApiClient) -> Look:
        since, rows = every_maximum(client, COLUMNS[column], {"server": "member"}.get(kind or "", kind or ""), limit)
        return Look({"since": since, "objects": rows}, [since_line(since), maxima_table(rows)])

    view.show(look)
