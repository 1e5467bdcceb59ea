"""The page of all commands, from their own help: a page of the site, as `lbcore man` makes manual pages of it."""

from __future__ import annotations

import re

import click

from lbcore.cli import main
from lbcore.cli.man import CODES, commands

INTRO = """# Commands

Every command of `lbcore`, with its options and exit codes, as `lbcore COMMAND --help` prints them. Most commands ask
the API of a running instance: see [Observability](../observability.md#on-the-command-line) for what they show.
"""


def page() -> str:
    """The page, in Markdown."""
    parts = [INTRO]
    for context in commands(click.Context(main, info_name="lbcore", **main.context_settings)):
        if not isinstance(context.command, click.Group) or context.command.invoke_without_command:
            parts.append(section(context))
    return "\n".join(parts)


def section(context: click.Context) -> str:
    """One command."""
    path, command = context.command_path, context.command
    lines = [f"## `{path}` {{ #{path.replace(' ', '-')} }}", "", "```console"]
    lines += [f"$ {path} {' '.join(command.collect_usage_pieces(context))}", "```", ""]
    codes: list[str] = []
    for paragraph in re.split(r"\n\s*\n", (command.help or "").strip()):
        if CODES in paragraph:
            codes = paragraph.partition(CODES)[2].strip().splitlines()
        else:
            lines += [escaped(" ".join(paragraph.replace("\b", "").split())), ""]
    records = [
        record
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)) is not None
    ]
    lines += ["| option | |", "|---|---|"]
    lines += [f"| `{cell(flags)}` | {cell(escaped(' '.join(text.split())))} |" for flags, text in records]
    lines.append("")
    if codes:
        lines += ["| exit code | |", "|---|---|"]
        for line in codes:
            code, _, text = line.strip().partition(" ")
            lines.append(f"| {code} | {cell(escaped(text.strip()))} |")
        lines.append("")
    return "\n".join(lines)


def cell(text: str) -> str:
    """Text in a cell of a table."""
    return text.replace("|", "&#124;")


def escaped(text: str) -> str:
    """Text of a terminal in Markdown."""
    return re.sub(r"([<>*_\[\]])", r"\\\1", text)
