"""`lbcore healthcheck`: whether an instance answers its ping, for containers; as Traefik's command of that name."""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
from typing import TYPE_CHECKING

import click

from lbcore.cli.asking import JSON, WATCHING, Look, View
from lbcore.cli.base import EXIT_CANNOT_ASK, EXIT_WELL, FlagsCommand, print_problems
from lbcore.cli.static import CONFIG, FREE_FORM, find_static

if TYPE_CHECKING:
    from lbcore.config.static import StaticConfig

TIMEOUT_S = 5.0


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
    try:
        url, status, reason = ask(static)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return EXIT_CANNOT_ASK, f"Error calling healthcheck: {error}", 0
    if status != 200:
        return EXIT_CANNOT_ASK, f"Bad healthcheck status: {status} {reason}", status
    return EXIT_WELL, f"OK: {url}", status


def _look(static: StaticConfig) -> Look:
    code, text, status = _answer(static)
    return Look({"healthy": code == EXIT_WELL, "status": status, "message": text}, [text], code)


def ask(static: StaticConfig) -> tuple[str, int, str]:
    """The URL of the ping, and what it answers. Raises ValueError, OSError, HTTPException."""
    from lbcore.process.listeners import Address

    if static.ping is None:
        raise ValueError("please enable `ping` to use health check")
    point = static.entry_points.get(static.ping.entry_point)
    if point is None:
        raise ValueError(f"ping: missing {static.ping.entry_point} entry point")
    address = Address.parse(point.address)
    context = ssl._create_unverified_context() if point.http.tls is not None else None  # it asks itself
    connection: http.client.HTTPConnection
    if address.path:
        connection = _UnixConnection(address.path)
        url = f"unix:{address.path}/ping"
    else:
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
        named = f"[{host}]" if ":" in host else host
        url = f"{'https' if context else 'http'}://{named}:{address.port}/ping"
        if context is not None:
            connection = http.client.HTTPSConnection(host, address.port, timeout=TIMEOUT_S, context=context)
        else:
            connection = http.client.HTTPConnection(host, address.port, timeout=TIMEOUT_S)
    try:
        connection.request("HEAD", "/ping")
        answer = connection.getresponse()
        return url, answer.status, answer.reason
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connect. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)
