"""`lbcore log-level`: show the level of the log of a running instance, and have another one hold for a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lbcore.cli.asking import TOKEN, Look, View, needs_token, tell, viewing
from lbcore.cli.base import AskingCommand, fail

if TYPE_CHECKING:
    from lbcore.remote.client import ApiClient

PATH = "/api/log-level"
# As in lbcore/config/static/log.py, whose module takes a tenth of a second to load.
LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "PANIC")


@click.command("log-level", cls=AskingCommand)
@click.argument("level", required=False, type=click.Choice(LEVELS, case_sensitive=False))
@click.option("--for", "span", metavar="DURATION", help="Then the configured level holds again: 30s, 10m, 2h.")
@click.option("--reset", is_flag=True, help="Have the configured level hold again.")
@TOKEN
@viewing()
def log_level(level: str | None, span: str | None, reset: bool, token: str, view: View) -> None:
    """Show or change the level of the log of a running instance: lbcore log-level DEBUG --for 10m.

    Without LEVEL, shows which level holds, which one is configured, and until when another one holds. A change
    concerns all processes of the instance, also workers that start later. It holds over reloads, and ends with
    --reset, when its time is over, or when lbcore starts again.

    \b
    Exit codes:
      0  it is shown, or changed
      1  the instance cannot be asked, or refuses; the command is wrong
    """
    if reset and level:
        fail("give a level, or --reset")
    if span is not None and not level:
        fail("--for needs a level: lbcore log-level DEBUG --for 10m")
    if reset or level:
        needs_token(token)
        body = {"level": level, **({"for": span} if span is not None else {})}
        tell(view, "DELETE" if reset else "PUT", PATH, token, None if reset else body)

    def look(client: ApiClient) -> Look:
        found = client.ask(PATH)
        return Look(found, [_text(found)])

    view.show(look)


def _text(found: dict[str, Any]) -> str:
    if not found["overridden"]:
        return f"{found['level']}, as configured"
    until = f"until {found['until']}" if found["until"] else "until it is reset"
    return f"{found['level']} {until}; configured: {found['configured']}"
