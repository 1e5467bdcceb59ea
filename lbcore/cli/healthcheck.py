"""`lbcore healthcheck`: whether an instance answers its ping, for containers; as Traefik's command of that name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from lbcore.cli.asking import JSON, WATCHING, Look, View
from lbcore.cli.base import EXIT_CANNOT_ASK, EXIT_WELL, FlagsCommand, print_problems
from lbcore.cli.static import CONFIG, FREE_FORM, find_static

if TYPE_CHECKING:
    from lbcore.config.static import StaticConfig


@click.command(cls=FlagsCommand, context_settings=FREE_FORM)
@CONFIG
@JSON
@WATCHING[0]
@WATCHING[1]
@WATCHING[2]
@click.pass_context
def healthcheck(
    context: click.Context, config: str | None, as_json: bool, watch: bool, seconds: float, count: int
) -> None:
    """Ask the ping of an instance on this machine, by the same static configuration as it has.

    It comes from flags, a file, or variables, as for `lbcore run`. The configuration needs `ping`.

    \b
    Exit codes:
      0  it serves
      1  it does not answer within 5 s, or it is about to stop
      2  the command is wrong
    """
    from lbcore.errors import ConfigError

    try:
        static = find_static(config, context.args)[0]
    except ConfigError as error:
        print_problems(error.problems)
        sys.exit(1)
    if as_json or watch:
        View("", as_json, watch, seconds, count).again(lambda: _look(static))
    code, text, _ = _answer(static)  # without what a screen needs: containers ask every few seconds
    click.echo(text)
    sys.exit(code)


def _answer(static: StaticConfig) -> tuple[int, str, int]:
    """Exit code, text, and the status of the ping; 0: it has not answered."""
    from lbcore.cli.ping import PingError, ask

    try:
        url, status, reason = ask(static)
    except PingError as error:
        return EXIT_CANNOT_ASK, f"Error calling healthcheck: {error}", 0
    if status != 200:
        return EXIT_CANNOT_ASK, f"Bad healthcheck status: {status} {reason}", status
    return EXIT_WELL, f"OK: {url}", status


def _look(static: StaticConfig) -> Look:
    code, text, status = _answer(static)
    return Look({"healthy": code == EXIT_WELL, "status": status, "message": text}, [text], code)
