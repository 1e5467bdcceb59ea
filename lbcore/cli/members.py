"""`lbcore drain`, `undrain`, `eject`, `reset`: take members of a service of a running instance out, and back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from lbcore.cli.asking import API, TOKEN, needs_token, services_named
from lbcore.cli.base import AskingCommand, fail
from lbcore.cli.weights import LAYER, find

if TYPE_CHECKING:
    from lbcore.remote.client import ApiClient

SERVICE = click.argument("service", shell_complete=services_named)
MEMBERS = click.argument("members", nargs=-1, required=True)
FORCE = click.option("--force", is_flag=True, help="Even if no member is left to choose, and requests are refused.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
POLL_S = 0.2


@click.command(cls=AskingCommand)
@SERVICE
@MEMBERS
@FORCE
@click.option("--wait", is_flag=True, help="Until nothing is in flight at them.")
@click.option("--timeout", "timeout_s", default=300.0, type=click.FloatRange(0), help="Seconds that --wait waits.")
@AS_JSON
@LAYER
@TOKEN
@API
def drain(
    service: str, members: tuple[str, ...], force: bool, wait: bool, timeout_s: float, as_json: bool,
    layer: str | None, token: str, url: str,
) -> None:  # fmt: skip
    """Give members of a service no new clients: lbcore drain shop 10.0.0.2. Sessions that stick to them stay.

    A member is named by its URL, address or name, or by a part of that which no other one has. It stays drained, also
    over reloads, until `lbcore undrain`.

    \b
    Exit codes:
      0  they are drained; with --wait: and nothing is in flight at them
      1  the instance cannot be asked, or refuses; the command is wrong
      2  something is in flight at them after the timeout of --wait
    """
    client, of, node = _act("drain", service, members, force, as_json, layer, token, url)
    if not wait:
        return
    keys = _keys(node, members)
    until = time.monotonic() + timeout_s
    while busy := _in_flight(client, node["name"], of, keys):
        if time.monotonic() > until:
            click.echo(f"error: {busy} in flight after {timeout_s:g} s", err=True)
            raise SystemExit(2)
        time.sleep(POLL_S)


@click.command(cls=AskingCommand)
@SERVICE
@MEMBERS
@AS_JSON
@LAYER
@TOKEN
@API
def undrain(
    service: str, members: tuple[str, ...], as_json: bool, layer: str | None, token: str, url: str
) -> None:
    """End `lbcore drain`: members have the weights of the configuration again.

    \b
    Exit codes:
      0  they have
      1  the instance cannot be asked, or refuses; the command is wrong
    """
    _act("undrain", service, members, False, as_json, layer, token, url)


@click.command(cls=AskingCommand)
@SERVICE
@MEMBERS
@FORCE
@AS_JSON
@LAYER
@TOKEN
@API
def eject(
    service: str, members: tuple[str, ...], force: bool, as_json: bool, layer: str | None, token: str, url: str
) -> None:
    """Send no request at all to members of a service, also not of sessions, until `lbcore reset`.

    What is under way ends as it would.

    \b
    Exit codes:
      0  they are out
      1  the instance cannot be asked, or refuses; the command is wrong
    """
    _act("eject", service, members, force, as_json, layer, token, url)


@click.command(cls=AskingCommand)
@SERVICE
@MEMBERS
@AS_JSON
@LAYER
@TOKEN
@API
def reset(
    service: str, members: tuple[str, ...], as_json: bool, layer: str | None, token: str, url: str
) -> None:
    """End what was done to members by hand, and their ejection by a passive health check.

    \b
    Exit codes:
      0  it has ended
      1  the instance cannot be asked, or refuses; the command is wrong
    """
    _act("reset", service, members, False, as_json, layer, token, url)


def _act(
    action: str, service: str, members: tuple[str, ...], force: bool, as_json: bool, layer: str | None, token: str,
    url: str,
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
            for key in _keys(node, members)
        ]
    except ApiError as error:
        fail(str(error))
    for answer in answers:
        click.echo(json.dumps(answer) if as_json else answer["message"])
    return client, of, node


def _keys(node: dict[str, Any], members: tuple[str, ...]) -> list[str]:
    """The keys of members that are named by them or by a part of them."""
    from lbcore.remote.show import key_of, parts_of

    keys = [key_of(part) for part in parts_of(node)]
    found = []
    for member in members:
        meant = [member] if member in keys else [key for key in keys if member in key]
        if len(meant) != 1:
            known = "may be" if meant else "is none of"
            fail(f"{member} {known} {', '.join(meant or keys)}")
        found += meant
    return found


def _in_flight(client: ApiClient, service: str, layer: str, keys: list[str]) -> int:
    from lbcore.remote.client import ApiError
    from lbcore.remote.show import key_of, parts_of, total

    try:
        _, node = find(client.ask("/api/tree"), service, layer)
    except ApiError as error:
        fail(str(error))
    return sum(total(part, "inFlight") for part in parts_of(node) if key_of(part) in keys)
