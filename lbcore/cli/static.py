"""Where the static configuration of a command comes from: a file, flags, or the environment."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lbcore.config.static import StaticConfig
    from lbcore.errors import Problem

USUAL_FILES = ("lbcore.yml", "lbcore.yaml", "lbcore.toml", "traefik.yml", "traefik.yaml", "traefik.toml")
FILES_OF_TRAEFIK = USUAL_FILES[3:]
FOLDERS_OF_TRAEFIK = (".", "$XDG_CONFIG_HOME", "~/.config", "/etc/traefik")
USUAL_FOLDERS = (".", "$XDG_CONFIG_HOME", "~/.config", "/etc/lbcore", "/etc/traefik")
SHIPPED = Path("/usr/share/lbcore/lbcore.yml")  # in an image: what runs where nothing else is said
SHOWN = 3  # flags that a warning names
FREE_FORM = {"ignore_unknown_options": True, "allow_extra_args": True}

CONFIG = click.option(
    "--config", "--configFile", "config", type=click.Path(dir_okay=False), help="Static configuration file."
)


def find_static(
    config: str | None, flags: Sequence[str], instead: str = ""
) -> tuple[StaticConfig, list[Problem], str]:
    """The static configuration, warnings about it, and where it comes from. Raises ConfigError and UsageError.

    As in Traefik, one place counts, and the file that is named, or that Traefik would find, counts before flags.

    instead  what the command takes in place of one.
    """
    from lbcore.config.load import load_static_with_warnings
    from lbcore.config.sources import from_environment, from_flags, is_in_environment
    from lbcore.errors import ConfigError, Problem

    if flags:
        refuse_mistyped(flags)
        path = config or usual_file(FILES_OF_TRAEFIK, FOLDERS_OF_TRAEFIK)
        if not path:
            return *from_flags(flags), "flags"
        static, warnings = load_static_with_warnings(path)
        return static, [*warnings, _not_read(flags, str(path))], str(path)
    path = config or os.environ.get("LBCORE_CONFIG") or usual_file()
    if path:
        return *load_static_with_warnings(path), str(path)
    if is_in_environment(os.environ):
        return *from_environment(os.environ), "environment"
    if SHIPPED.is_file():
        return *load_static_with_warnings(SHIPPED), str(SHIPPED)
    ways = ["--config FILE", "flags", "LBCORE_... variables", *filter(None, [instead])]
    hint = f"give {', '.join(ways[:-1])}{',' if instead else ''} or {ways[-1]}"
    raise ConfigError([Problem("", "no static configuration", hint)])


def refuse_mistyped(flags: Sequence[str]) -> None:
    """Raise UsageError for an argument that is no flag of the static configuration, and looks like something else."""
    from lbcore.config.decode import EXTENSIONS, keys_of
    from lbcore.config.static import StaticConfig

    names = (EXTENSIONS, *StaticConfig.missing, *StaticConfig.ignored, *keys_of(StaticConfig))
    keys = {key.lower(): key for key in names}
    known = ["--config", "--workers", "--to", "--from", *(f"--{key}" for key in keys.values())]
    for flag in flags:
        name = re.split(r"[=.\[]", flag)[0]
        if flag.startswith("--") and name[2:].lower() not in keys:
            close = difflib.get_close_matches(name, known, 1)
            meant = f"did you mean {close[0]}?" if close else "see lbcore run --help"
            raise click.UsageError(f"no such option: {name}; {meant}")
    if not flags[0].startswith("-"):
        meant = f"did you mean --config {flags[0]}?" if os.path.isfile(flags[0]) else "options are --key=value"
        raise click.UsageError(f"{flags[0]!r} is no option; {meant}")


def _not_read(flags: Sequence[str], file: str) -> Problem:
    """The warning about flags beside a file that counts."""
    from lbcore.errors import Problem

    names = [flag.partition("=")[0] for flag in flags if flag.startswith("-")]
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    text = f"flags are not read beside a file, as in Traefik: {', '.join(names[:SHOWN])}{rest}"
    return Problem("", text, "put everything in one of them", file, severity="warning")


def usual_file(names: Sequence[str] = USUAL_FILES, folders: Sequence[str] = USUAL_FOLDERS) -> Path | None:
    """The first file that has one of these names in one of these folders."""
    # Of a user without a home, the folder is taken literally; a variable that is not set names no folder.
    places = (os.path.expanduser(os.path.expandvars(folder)) for folder in folders)
    found = (Path(place, name) for place in places if "$" not in place for name in names)
    return next((path for path in found if os.path.isfile(path)), None)  # False also for what may not be seen
