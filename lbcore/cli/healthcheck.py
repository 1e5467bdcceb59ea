"""`lbcore healthcheck`: whether an instance answers its ping, for containers; as Traefik's command of that name."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lbcore.cli.asking import JSON, WATCHING, Look, View
from lbcore.cli.base import EXIT_CANNOT_ASK, EXIT_WELL, FlagsCommand, print_problems
from lbcore.cli.static import CONFIG, FREE_FORM, find_static

if TYPE_CHECKING:
    from lbcore.config.static import StaticConfig

FIRST = Path("/proc/1/cmdline")  # of the first process: that of a container


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

    In a container whose first process is `lbcore run`, and without a configuration of its own, the command has that of
    `lbcore run`. If that has no `ping`, it looks whether an entry point accepts connections.

    \b
    Exit codes:
      0  it serves
      1  it does not answer within 5 s, it is about to stop, or its ping fails by hand (lbcore ping fail)
      2  the command is wrong
    """
    from lbcore.errors import ConfigError

    first = None if config or context.args else command_of_first()
    try:
        static = find_static(config, context.args)[0] if first is None else _static_of(first)
    except ConfigError as error:
        print_problems(error.problems)
        sys.exit(1)
    if as_json or watch:
        View("", as_json, watch, seconds, count).again(lambda: _look(static, first is not None))
    code, text, _ = _answer(static, first is not None)  # without what a screen needs: containers ask every few seconds
    click.echo(text)
    sys.exit(code)


def command_of_first(file: Path = FIRST) -> list[str] | None:
    """The arguments of `lbcore run` if that is the first process, also by way of an init; else None."""
    try:
        words = file.read_bytes().decode(errors="surrogateescape").split("\0")[:-1]
    except OSError:
        return None
    for at, word in enumerate(words):
        rest = words[at + 1 :]
        if os.path.basename(word) == "lbcore" and rest and (rest[0] == "run" or rest[0].startswith("-")):
            return rest[rest[0] == "run" :]
    return None


def _static_of(arguments: Sequence[str]) -> StaticConfig:
    """The static configuration of `lbcore run` with these arguments. Raises ConfigError and UsageError."""
    from lbcore.cli.quick import quick
    from lbcore.cli.run import run

    context = run.make_context("run", list(arguments))
    given = context.params
    if given["servers"]:
        return quick(given["servers"], given["address"] or ":8000", context.args)[0]
    return find_static(given["config"], context.args)[0]


def _answer(static: StaticConfig, is_own: bool) -> tuple[int, str, int]:
    """Exit code, text, and the status of the ping; 0: it has not answered.

    is_own  whether the configuration is that of the first process.
    """
    from lbcore.cli.ping import PingError, accepts, ask

    try:
        if is_own and static.ping is None:
            what = f"entry point {name} accepts connections" if (name := accepts(static)) else "it runs"
            return EXIT_WELL, f"OK: {what}; with `ping` more would be known", 0
        url, status, reason = ask(static)
    except PingError as error:
        return EXIT_CANNOT_ASK, f"Error calling healthcheck: {error}", 0
    if status != 200:
        return EXIT_CANNOT_ASK, f"Bad healthcheck status: {status} {reason}", status
    return EXIT_WELL, f"OK: {url}", status


def _look(static: StaticConfig, is_own: bool) -> Look:
    code, text, status = _answer(static, is_own)
    return Look({"healthy": code == EXIT_WELL, "status": status, "message": text}, [text], code)
