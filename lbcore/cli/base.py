"""What all commands share: how arguments are read, exit codes, and how problems are printed."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from lbcore.remote.printable import printable

Arguments = list[str]

# Of all commands that ask a running instance. What is wrong with the arguments is 1 there, too: 2 has another meaning.
EXIT_WELL = 0
EXIT_CANNOT_ASK = 1
EXIT_DOWN = 2  # something is down that takes traffic, or redundancy, away

STATIC_FILE = frozenset({"--config", "--configfile", "-c"})  # how other commands, and other programs, take it


class Command(click.Command):
    """A command to which `-host` is a mistyped option, and not `-h` with a value."""

    def parse_args(self, ctx: click.Context, args: Arguments) -> Arguments:
        """The arguments that no option takes."""
        return super().parse_args(ctx, [f"-{arg}" if arg.startswith("-h") and len(arg) > 2 else arg for arg in args])


class FlagsCommand(click.Command):
    """A command that accepts Traefik's flags in all their forms: with one dash or two, in any case."""

    def parse_args(self, ctx: click.Context, args: Arguments) -> Arguments:
        """The arguments that no option takes: flags of the static configuration."""
        own = {option.lower(): option for parameter in self.params for option in parameter.opts}
        found = []
        for arg in args:
            flag, equals, value = (f"-{arg}" if re.match(r"-[A-Za-z]{2}|-[A-Za-z]\.", arg) else arg).partition("=")
            found.append(own.get(flag.lower(), flag) + equals + value)
        return super().parse_args(ctx, found)


class AskingCommand(Command):
    """A command that exits with 1 if its arguments are wrong, because 2 has another meaning."""

    def parse_args(self, ctx: click.Context, args: Arguments) -> Arguments:
        """The arguments that no option takes."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if isinstance(error, click.NoSuchOption) and error.option_name.lower() in STATIC_FILE:
                # Names of options that look alike would lead away from what is meant.
                error = click.UsageError(
                    f"{ctx.info_name} asks the running instance and reads no file: --api URL (or LBCORE_API) says "
                    "where its API is, http://127.0.0.1:8080 if neither is given.",
                    ctx,
                )
            error.exit_code = EXIT_CANNOT_ASK  # type: ignore[misc]
            raise error from None


class Commands(click.Group):
    """The group of commands, which suggests the command that was probably meant."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: Arguments) -> Arguments:
        """The command and its arguments. Flags without a command are those of `run`, as Traefik takes them."""
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help", "--version"):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: Arguments
    ) -> tuple[str | None, click.Command | None, Arguments]:
        """The command that is named. Raises UsageError."""
        if args[0] not in self.commands:
            close = difflib.get_close_matches(args[0], self.commands, 1)
            meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(self.commands))}"
            raise click.UsageError(f"no such command: {args[0]!r}; {meant}", ctx)
        return super().resolve_command(ctx, args)


def print_problems(problems: Sequence[Any]) -> None:
    """One line for each problem of a configuration, and how many there are."""
    from lbcore.config.report import lines

    found = lines(problems)
    for line in found:
        click.echo(f"error: {printable(line)}", err=True)
    if found:
        click.echo(f"{len(found)} problem{'s' if len(found) > 1 else ''}", err=True)


def fail(problem: str) -> NoReturn:
    """Print a problem, and exit with 1."""
    click.echo(f"error: {printable(problem)}", err=True)
    sys.exit(1)
