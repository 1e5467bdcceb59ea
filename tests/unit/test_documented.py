"""Commands, options and metrics that the documentation names are there, and README names what it has to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ci import reference
from lbcore.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SOURCES = (*ROOT.glob("lbcore/api/*.py"), *ROOT.glob("lbcore/telemetry/*.py"), *ROOT.glob("lbcore/observability/*.p*"))
# Metrics of entry points, routers and services, whose names are put together.
OF_REQUESTS = re.compile(
    r"lbcore_(entrypoint|router|service)_(requests|requests_tls|request_duration_seconds|requests_bytes|responses_bytes|)"
)
CODE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"^(?:\$ )?(?:\S*/)?lbcore (.*)")


def commands_of(text: str) -> Iterator[str]:
    """What is written as a command: lines of blocks, and code in a sentence."""
    language: str | None = None  # of the block that a line is in
    for line in text.splitlines():
        if line.strip().startswith("```"):
            language = line.strip()[3:] if language is None else None
            continue
        shown = [line.strip()] if language in ("console", "sh", "") else []
        if language is None:
            shown = [line.strip()] if line.startswith("    ") else CODE.findall(line)
        yield from (found[1] for each in shown if (found := COMMAND.match(each)))


def command_at(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words begin with, and the rest of them. Raises KeyError."""
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(main), words[0])
        if found is None:
            raise KeyError(words[0])
        command, words = found, words[1:]
    return command, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    wrong = []
    for line in commands_of(page.read_text()):
        words = re.sub(r"'[^']*'|#.*", "", line).split()
        if not words or not re.fullmatch(r"[a-z-]+", words[0]):  # `lbcore starts with …`, `lbcore: {…}`
            continue
        try:
            command, rest = command_at(words)
        except KeyError:
            wrong.append(line)
            continue
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        known |= {"--help", "-h", "--version"}
        for word in rest:
            option = word.partition("=")[0].rstrip(",;")
            if option.startswith("--") and option not in known and not takes_flags(command, option):
                wrong.append(f"{line}: {option}")
    assert wrong == []


def takes_flags(command: click.Command, option: str) -> bool:
    """Whether an option is a key of the static configuration, which commands take in place of a file."""
    section = option.removeprefix("--").partition(".")[0].lower()
    keys = ("entrypoints", "providers", "accesslog", "metrics", "api", "log", "certificatesresolvers", "lbcore")
    return command.name in ("run", "check", "healthcheck") and section in keys


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_metrics_exist(page: Path) -> None:
    known = {name for source in SOURCES for name in re.findall(r"lbcore_[a-z0-9_]+", source.read_text())}
    wrong = set()
    for name in re.findall(r"(?<![\w/.])lbcore_[a-z0-9_]+", page.read_text()):
        short = re.sub(r"_(total|bucket|sum|count)$", "", name)
        prefix = any(each.startswith(name) for each in known)  # `lbcore_udp_*`
        parts = name.startswith(("lbcore_selection", "lbcore_selector"))  # of the header for C
        if not (parts or {name, short} & known or OF_REQUESTS.fullmatch(short) or prefix):
            wrong.add(name)
    assert wrong == set()


@pytest.mark.parametrize("name", ["nginx", "haproxy", "caddy"])
def test_keys_that_take_the_place_of_directives_exist(name: str) -> None:
    """In the column of lbcore: names with a capital letter inside, and those before a dot or a colon."""
    parts = [section for kind in reference.ROOTS for section in reference.sections(kind)]
    known = {key.name.lower() for section in parts for key in section.keys}
    known |= {"web", "websecure", "https"}  # entry points of examples, and a scheme
    wrong = set()
    for line in (ROOT / f"docs/coming-from/{name}.md").read_text().splitlines():
        cells = line.strip("| ").split(" | ")
        for code in CODE.findall(cells[1]) if line.startswith("| ") and len(cells) == 2 else ():
            if not code.startswith(("lbcore ", "--")):
                bare = re.sub(r"\"[^\"]*\"|\b[A-Z]\w*|unix:\S*", "", code)  # values, NAME
                words = re.findall(r"\b[a-z]+[A-Z]\w*|\b[a-z]\w*(?=[.:])", bare)
                wrong |= {word for word in words if word.lower() not in known}
    assert wrong == set()


def test_the_readme_has_the_two_commands_for_a_fresh_machine() -> None:
    text = (ROOT / "README.md").read_text()
    assert "`make run`" in text and "`make test`" in text
