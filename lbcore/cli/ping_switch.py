"""`lbcore ping`: show what /ping of a running instance answers, have it fail by hand, and take that back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lbcore.cli.asking import TOKEN, Look, View, needs_token, tell, viewing
from lbcore.cli.base import EXIT_DOWN, EXIT_WELL, AskingCommand

if TYPE_CHECKING:
    from lbcore.remote.client import ApiClient

PATH = "/api/ping"


@click.command(cls=AskingCommand)
@click.argument("action", required=False, type=click.Choice(["fail", "ok"]))
@TOKEN
@viewing()
def ping(action: str | None, token: str, view: View) -> None:
    """Show what /ping of a running instance answers, or have it fail: lbcore ping fail.

    `fail` has /ping answer with ping.terminatingStatusCode (503), as during a graceful stop, so that load balancers in
    front, and `lbcore healthcheck`, take the instance for one that is about to stop. All requests are served on. It
    holds over reloads and for workers that start later, until `ok`, or until lbcore starts again.

    \b
    Exit codes:
      0  it is changed; without ACTION: /ping answers 200
      1  the instance cannot be asked, or refuses; the command is wrong
      2  without ACTION, or with --watch: /ping fails
    """
    if action is not None:
        needs_token(token)
        tell(view, "POST", PATH, token, {"action": action})

    def look(client: ApiClient) -> Look:
        found = client.ask(PATH)
        return Look(found, [_text(found)], EXIT_WELL if found["status"] == 200 else EXIT_DOWN)

    view.show(look)


def _text(found: dict[str, Any]) -> str:
    said = f"/ping answers {found['status']}"
    if found["stopping"]:
        return f"{said}: the instance is stopping"
    if found["failsSince"]:
        return f"{said}: it fails by hand since {found['failsSince']}, set by {found['failedBy']}"
    return said
