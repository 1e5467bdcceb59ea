"""`lbcore drain`, `undrain`, `eject`, `reset`: take members of a service of a running instance out, and back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from lbcore.cli.asking import API, TOKEN, needs_token, services_named
from lbcore.cli.base import AskingCommand, fail
from lbcore.cli.weights import LAYER, find, members_named
from lbcore.remote.printable import printable

if TYPE_CHECKING:
    from lbcore.remote.client import ApiClient

SERVICE = click.argument("service", shell_complete=services_named)
MEMBERS = click.argument("members", nargs=-1, required=True)
FORCE = click.option("--force", is_flag=True, help="Even if no member is left to choose, and requests are refused.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
POLL_S = 0.2
Decorator = Callable[[Callable[..., Any]], Any]


def _of_members(*own: Decorator) -> Decorator:
    """A command about members of a service, with options of its own."""

    def made(function: Callable[..., Any]) -> click.Command:
        for option in reversed((SERVICE, MEMBERS, *own, AS_JSON, LAYER, TOKEN, API)):
            function = option(function)
        return click.command(cls=AskingCommand)(function)

    return made


@_of_members(
    FORCE,
    click.option("--wait", is_flag=True, help="Until nothing is in flight at them."),
    click.option("--timeout", "timeout_s", default=300.0, type=click.FloatRange(0), help="Seconds that --wait waits."),
)
def drain(members: tuple[str, ...], wait: bool, timeout_s: float, **asked: Any) -> None:
    """Give members of a service no new clients: lbcore drain shop 10.0.0.2. Sessions that stick to them stay.

    A member is named by its URL, address or name, or by a part of that which no other one has. It stays drained, also
    over reloads, until `lbcore undrain`.

    \b
    Exit codes:
      0  they are drained; with --wait: and nothing is in flight at them
      1  the instance cannot be asked, or refuses; the command is wrong
      2  something is in flight at them after the timeout of --wait
    """
    client, of, node = _act("drain", members=members, **asked)
    if not wait:
        return
    keys = members_named(node, members)
    until = time.monotonic() + timeout_s
    while busy := _in_flight(client, node["name"], of, keys):
        if time.monotonic() > until:
            click.echo(f"error: {busy} in flight after {timeout_s:g} s", err=True)
            raise SystemExit(2)
        time.sleep(POLL_S)


@_of_members()
def undrain(**asked: Any) -> None:
    """End `lbcore drain`: members have the weights of the configuration again.

    \b
    Exit codes:
      0  they have
      1  the instance cannot be asked, or refuses; the command is wrong
    """
    _act("undrain", **asked)


@_of_members(FORCE)
def eject(**asked: Any) -> None:
    """Send no request at all to members of a service, also not of sessions, until `lbcore reset`.

    What is under way ends as it would.

    \b
    Exit codes:
      0  they are out
      1  the instance cannot be asked, or refuses; the command is wrong
    """
    _act("eject", **asked)


@_of_members()
def reset(**asked: Any) -> None:
    """End what was done to members by hand, and their ejection by a passive health check.

    \b
    Exit codes:
      0  it has ended
      1  the instance cannot be asked, or refuses; the command is wrong
    """
    _act("reset", **asked)


def _act(
    action: str, *, service: str, members: tuple[str, ...], as_json: bool, layer: str | None, token: str, url: str,
    force: bool = False,
) -> tuple[ApiClient, str, dict[str, Any]]:  # fmt: skip
    """Ask for an action for each member. Returns what is needed to look at them again."""
    import json

    from lbcore.remote.client import ApiClient, ApiError

    needs_token(token)
    try:
        client = ApiClient(url, token)
        of, node = find(client.ask("/api/tree"), service, layer)
        path = f"/api/{of}/services/{quote(node['name'], safe='@')}/members"
        answers = [
            client.ask(path, "POST", {"member": key, "action": action, "force": force})
            for key in members_named(node, members)
        ]
    except ApiError as error:
        fail(str(error))
    for answer in answers:
        click.echo(json.dumps(answer) if as_json else printable(answer["message"]))
    return client, of, node


def _in_flight(client: ApiClient, service: str, layer: str, keys: list[str]) -> int:
    from lbcore.remote.client import ApiError
    from lbcore.remote.show import key_of, parts_of, total

    try:
        _, node = find(client.ask("/api/tree"), service, layer)
    except ApiError as error:
        fail(str(error))
    return sum(total(part, "inFlight") for part in parts_of(node) if key_of(part) in keys)
