"""`lbcore cert`: the certificates of files and of a running instance, and those of the certificatesResolvers."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from lbcore.cli.asking import API, TOKEN, needs_token
from lbcore.cli.base import AskingCommand, Commands, fail, print_problems
from lbcore.errors import system_message_of
from lbcore.remote.printable import printable

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=Commands)
def cert() -> None:
    """See the certificates of files and of a running instance, and manage those of the certificatesResolvers."""


@cert.command("list", cls=AskingCommand)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@AS_JSON
@API
def list_certificates(files: tuple[Path, ...], as_json: bool, url: str) -> None:
    """List certificates with the days they have left: those of PEM files, or of a running instance.

    \b
    Exit codes:
      0  all is well
      1  a file cannot be read, or the instance cannot be asked
      2  a certificate has expired
    """
    views = [view for file in files for view in _certificates_in(file)] if files else _certificates_of(url)
    if as_json:
        click.echo(json.dumps(views, indent=2))
    elif not views:
        click.echo("no certificates")
    for view in views if not as_json else ():
        names = ", ".join(view["sans"]) or view["commonName"] or "no name"
        click.echo(f"{_left(view)}  {view['keyType']} {view['keySize']}  {printable(names)}  {view['name'][:16]}")
    sys.exit(2 if any(view["status"] == "expired" for view in views) else 0)


@cert.command("show", cls=AskingCommand)
@click.argument("name")
@AS_JSON
@API
def show_certificate(name: str, as_json: bool, url: str) -> None:
    """Show one certificate: of a PEM file, or of a running instance by a host, a common name, or a fingerprint.

    \b
    Exit codes:
      0  it was shown
      1  there is none, the file cannot be read, or the instance cannot be asked
    """
    if os.path.isfile(name):
        views = _certificates_in(Path(name))
    else:
        star = f"*.{name.partition('.')[2]}"
        views = [
            view
            for view in _certificates_of(url)
            if name in (*view["sans"], view["commonName"]) or star in view["sans"] or view["name"].startswith(name)
        ]
    if not views:
        fail(f"no certificate for {name}: see lbcore cert list")
    if as_json:
        click.echo(json.dumps(views, indent=2))
    for view in views if not as_json else ():
        for key, value in view.items():
            click.echo(printable(f"{key}: {', '.join(value) if isinstance(value, list) else value}"))
        click.echo(f"left: {_left(view)}")


def _left(view: dict[str, Any]) -> str:
    """How long a certificate is good for."""
    from datetime import UTC, datetime

    days = (datetime.fromisoformat(view["notAfter"]) - datetime.now(UTC)).days
    return f"{days:>4} days" if view["status"] != "expired" else "expired  "


def _certificates_in(file: Path) -> list[dict[str, Any]]:
    from lbcore.tls.describe import described

    try:
        text = file.read_text()
        end = "-----END CERTIFICATE-----"
        parts = [part + end for part in text.split(end)[:-1]]
        if not parts:
            raise ValueError("no certificate in PEM form")
        return [described(part).view() for part in parts]
    except OSError as error:
        fail(f"{file} cannot be read: {system_message_of(error)}")
    except ValueError as error:
        fail(f"{file}: {error}")


def _certificates_of(url: str) -> list[dict[str, Any]]:
    from lbcore.remote.client import ApiClient, ApiError

    try:
        found: list[dict[str, Any]] = ApiClient(url).ask("/api/certificates?per_page=10000")
    except ApiError as error:
        fail(str(error))
    return found


@cert.command(cls=AskingCommand)
@click.argument("names", nargs=-1)
@TOKEN
@API
def renew(names: tuple[str, ...], token: str, url: str) -> None:
    """Make a running instance order certificates now: those that serve any of NAMES, or all.

    This also ends the waits after failed orders. The present certificates are served meanwhile.

    \b
    Exit codes:
      0  they are ordered
      1  the instance cannot be asked, or refuses; the command is wrong
    """
    from lbcore.remote.client import ApiClient, ApiError

    needs_token(token)
    try:
        answer = ApiClient(url, token).ask("/api/certificates/renew", "POST", {"names": list(names)})
    except ApiError as error:
        fail(str(error))
    for ordered in answer["ordered"]:
        click.echo(f"ordering a certificate for {', '.join(ordered)}")


@cert.command("import")
@click.option("--config", "--configFile", "config", required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--resolver", default="", help="The resolver whose storage to use; default: the only one.")
@click.argument("certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("key", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_certificate(config: str, resolver: str, certificate: Path, key: Path | None) -> None:
    """Add a certificate with its chain and key to the storage of a resolver, which serves it instead of ordering one.

    Without KEY the file is an acme.json of Traefik or lbcore, and all certificates of the resolver in it are added. A
    running instance serves them within ten seconds.
    """
    from lbcore.config.load import load_static
    from lbcore.errors import ConfigError

    try:
        static = load_static(config)
        from lbcore.acme.importing import import_into

        for line in import_into(static, resolver, certificate, key):
            click.echo(line)
    except ConfigError as error:
        print_problems(error.problems)
        sys.exit(1)
    except ValueError as error:
        fail(str(error))
