"""`lbcore man`: the manual pages of the commands, made from their own help, one for each.

A page has the sections that a reader looks for: exit status and environment stand apart from the description and the
options in which the commands tell them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import click

from lbcore import __version__
from lbcore.cli.base import Command, fail
from lbcore.errors import system_message_of

CODES = "Exit codes:"


@click.command(cls=Command)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), required=False)
@click.option("--install", is_flag=True, help="Write them to where `man` finds those of this user.")
def man(directory: Path | None, install: bool) -> None:
    """Write the manual pages of all commands to a directory, or to where `man` finds them.

    Then `man lbcore` and `man lbcore-status` show them. `man` looks beside each directory of $PATH: it finds pages in
    ~/.local/share/man if ~/.local/bin is one of these.
    """
    if install == (directory is not None):
        fail("say where: a directory, or --install")
    usual = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "man" / "man1"
    directory = directory or usual
    try:
        written = write_pages(directory)
    except OSError as error:
        fail(f"{error.filename or directory} cannot be written: {system_message_of(error)}")
    click.echo(f"{len(written)} pages are written to {directory}")


def write_pages(folder: Path) -> list[Path]:
    """A page for the command, and for each command below it."""
    from lbcore.cli import main

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for context in commands(click.Context(main, info_name="lbcore", **main.context_settings)):
        file = folder / f"{context.command_path.replace(' ', '-')}.1"
        file.write_text(page(context))
        written.append(file)
    return written


def commands(context: click.Context) -> Iterator[click.Context]:
    """A command, and all commands below it."""
    yield context
    if isinstance(context.command, click.Group):
        for name, command in sorted(context.command.commands.items()):
            if not command.hidden:
                yield from commands(click.Context(command, info_name=name, parent=context))


def page(context: click.Context) -> str:
    """The page of a command, in the macros of man(7)."""
    path, command = context.command_path, context.command
    name = path.replace(" ", "-")
    paragraphs = re.split(r"\n\s*\n", (command.help or "").strip())
    summary = " ".join(paragraphs[0].split())
    lines = [f'.TH "{name.upper()}" 1 "" "lbcore {__version__}" "lbcore"', ".nh", ".ad l", ".SH NAME"]
    lines.append(f"{escaped(name)} \\- {escaped(summary[:1].lower() + summary[1:].rstrip('.').partition(': ')[0])}")
    lines += [".SH SYNOPSIS", f".B {escaped(path)}", escaped(" ".join(command.collect_usage_pieces(context)))]
    codes = [paragraph for paragraph in paragraphs if CODES in paragraph]
    lines.append(".SH DESCRIPTION")
    for paragraph in paragraphs:
        if paragraph not in codes:
            lines += [".PP", escaped(" ".join(paragraph.replace("\b", "").split()))]
    given = [parameter for parameter in command.get_params(context) if isinstance(parameter, click.Option)]
    records = [(parameter, parameter.get_help_record(context)) for parameter in given]
    options = [(parameter, record) for parameter, record in records if record is not None]
    lines.append(".SH OPTIONS")
    for _, (flags, text) in options:
        lines += [".TP", f"\\fB{escaped(flags)}\\fR", escaped(" ".join(text.split()))]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for below, each in sorted(command.commands.items()):
            lines += [".TP", f"\\fB{escaped(f'{name}-{below}')}\\fR(1)", escaped(each.get_short_help_str(200))]
    for paragraph in codes:
        lines.append(".SH EXIT STATUS")
        for line in paragraph.partition(CODES)[2].strip().splitlines():
            code, _, text = line.strip().partition(" ")
            lines += [".TP", f"\\fB{code}\\fR", escaped(text.strip())]
    variables = {str(parameter.envvar): parameter.opts[0] for parameter, _ in options if parameter.envvar}
    if variables:
        lines.append(".SH ENVIRONMENT")
        for variable, option in variables.items():
            lines += [".TP", f"\\fB{escaped(variable)}\\fR", f"The value of {escaped(option)}."]
    if context.parent is not None:
        lines += [".SH SEE ALSO", f"\\fB{escaped(context.parent.command_path.replace(' ', '-'))}\\fR(1)"]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text as roff reads it: hyphens are those that are typed, and no line begins with a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{text}" if text.startswith((".", "\\(aq")) else text
