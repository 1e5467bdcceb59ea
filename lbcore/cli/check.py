"""`lbcore check`: what of a configuration would run, and what is wrong with it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lbcore.cli.base import Command
from lbcore.remote.printable import printable


@click.command(cls=Command)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--config", multiple=True, type=click.Path(path_type=Path), help="A file to check, named as for `run`.")
@click.option("--provider", default="", help="Show what this provider finds now: docker, swarm, ...")
@click.option("--endpoint", default="", help="The address to ask, in place of the provider's own.")
@click.option("--traefik", is_flag=True, help="Also name what Traefik would refuse of these files.")
def check(files: tuple[Path, ...], config: tuple[Path, ...], provider: str, endpoint: str, traefik: bool) -> None:
    """Check configuration files, static or dynamic as their keys show, or a directory of dynamic ones.

    With --provider, ask a live store (Docker, ...) what it would give, by the settings of the static file if one is
    named.

    A static file is checked together with the dynamic configuration that its file provider names. Prints what would
    run, and all problems and warnings, one line each.

    With --traefik, files that Traefik has to read, too, are held against its keys: each extension of lbcore outside of
    the top-level section `lbcore` is an error, because Traefik refuses a file for it.

    \b
    Exit codes:
      0  everything runs
      1  the configuration is refused, or a part of it cannot run, or Traefik would refuse it (--traefik)
      2  the command is wrong
    """
    from lbcore.process.check import check_file, check_store
    from lbcore.provider.registry import STORES

    files += config
    if provider and provider not in STORES:
        raise click.UsageError(f"no such provider: {provider}; there are {', '.join(STORES)}")
    if not provider and (endpoint or not files):
        raise click.UsageError("--endpoint needs --provider" if endpoint else "name a file, a directory, or --provider")
    if provider and traefik:
        raise click.UsageError("--traefik looks at files, --provider at a store")
    if provider and len(files) > 1:
        raise click.UsageError("--provider goes with one static file at most")
    found = 0
    for file in files or (None,):
        report = check_store(provider, file, endpoint) if provider else check_file(file or Path(), traefik)
        for line in report.runs:
            click.echo(printable(line))
        for line in report.warnings:
            click.echo(f"warning: {printable(line)}", err=True)
        for line in report.problems:
            click.echo(f"error: {printable(line)}", err=True)
        found += len(report.problems)
    if found:
        click.echo(f"{found} problem{'s' if found > 1 else ''}", err=True)
    sys.exit(1 if found else 0)
