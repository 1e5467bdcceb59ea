"""`lbcore drain`, `undrain`, `eject`, `reset`: take members of a service of a running instance out, and back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from lbcore.cli.asking import TOKEN, Look, View, needs_token, services_named, viewing
from lbcore.cli.base import EXIT_DOWN, EXIT_WELL, AskingCommand, fail
from lbcore.cli.weights import LAYER, find, members_named
from lbcore.remote.printable import printable

if TYPE_CHECKING:
    from lbcore.remote.client import ApiClient

SERVICE = click.argument("service", shell_complete=services_named)
MEMBERS = click.argument("members", nargs=-1, required=True)
FORCE = click.option("--force", is_flag=True, help="Even if no member is left to choose, and requests are refused.")
POLL_S = 0.2
Decorator = Callable[[Callable[..., Any]], Any]


def _of_members(*own: Decorator) -> Decorator:
    """A command about members of a service, with options of its own."""

    def made(function: Callable[..., Any]) -> click.Command:
        given: Callable[..., Any] = viewing()(function)
        for option in reversed((SERVICE, MEMBERS, *own, LAYER, TOKEN)):
            given = option(given)
        return click.command(cls=AskingCommand)(given)

    return made


@_of_members(
    FORCE,
    click.option("--wait", is_flag=True, help="Until nothing is in flight at them."),
    click.option("--timeout", "timeout_s", default=300.0, type=click.FloatRange(0), help="Seconds that --wait waits."),
)
def drain(members: tuple[str, ...], wait: bool, timeout_s: float, view: View, **asked: Any) -> None:
    """Give members of a service no new clients: lbcore drain shop 10.0.0.2. Sessions that stick to them stay.

    A member is named by its URL, address or name, or by a part of that which no other one has. It stays drained, also
    over reloads, until `lbcore undrain`. With --watch, the members of the service and what is in flight there are shown
    again and again; with --wait as well, until nothing is in flight at those that were drained.

    \b
    Exit codes:
      0  they are drained; with --wait: and nothing is in flight at them
      1  the instance cannot be asked, or refuses; the command is wrong
      2  something is in flight at them after the timeout of --wait
    """
    from lbcore.remote.client import ApiError

    done = _act("drain", members=members, view=view, **asked)
    if not wait:
        done.watch(view)
        return
    until = time.monotonic() + timeout_s

    def look() -> Look:
        rows = done.members()
        busy = sum(row["inFlight"] for row in rows if row["member"] in done.keys)
        is_late = time.monotonic() > until
        said = [f"error: {busy} in flight after {timeout_s:g} s"] if busy and is_late else []
        return Look(rows, [*_table(rows), *said], EXIT_DOWN if busy else EXIT_WELL, not busy or is_late)

    if view.watch:
        view.again(look)
    try:
        while not (found := look()).is_last:
            time.sleep(POLL_S)
    except ApiError as error:
        fail(str(error))
    if found.code:
        click.echo(found.shown[-1], err=True)
        raise SystemExit(found.code)


@_of_members()
def undrain(view: View, **asked: Any) -> None:
    """End `lbcore drain`: members have the weights of the configuration again.

    \b
    Exit codes:
      0  they have
      1  the instance cannot be asked, or refuses; the command is wrong
    """
    _act("undrain", view=view, **asked).watch(view)


@_of_members(FORCE)
def eject(view: View, **asked: Any) -> None:
    """Send no request at all to members of a service, also not of sessions, until `lbcore reset`.

    What is under way ends as it would.

    \b
    Exit codes:
      0  they are out
      1  the instance cannot be asked, or refuses; the command is wrong
    """
    _act("eject", view=view, **asked).watch(view)


@_of_members()
def reset(view: View, **asked: Any) -> None:
    """End what was done to members by hand, and their ejection by a passive health check.

    \b
    Exit codes:
      0  it has ended
      1  the instance cannot be asked, or refuses; the command is wrong
    """
    _act("reset", view=view, **asked).watch(view)


@dataclass(frozen=True)
class _Changed:
    """The service whose members were changed, and the keys of these."""

    client: ApiClient
    layer: str
    service: str
    keys: list[str]

    def members(self) -> list[dict[str, Any]]:
        """All members of the service as they are now. Raises ApiError."""
        from lbcore.remote.show import members_of

        return members_of(find(self.client.ask("/api/tree"), self.service, self.layer)[1])

    def watch(self, view: View) -> None:
        """Show them again and again, if that is wanted."""
        if view.watch:
            view.again(lambda: Look(rows := self.members(), _table(rows)))


def _act(
    action: str, *, service: str, members: tuple[str, ...], layer: str | None, token: str, view: View,
    force: bool = False,
) -> _Changed:  # fmt: skip
    """Ask for an action for each member."""
    import json

    from lbcore.remote.client import ApiClient, ApiError

    needs_token(token)
    try:
        client = ApiClient(view.url, token)
        of, node = find(client.ask("/api/tree"), service, layer)
        path = f"/api/{of}/services/{quote(node['name'], safe='@')}/members"
        keys = members_named(node, members)
        answers = [client.ask(path, "POST", {"member": key, "action": action, "force": force}) for key in keys]
    except ApiError as error:
        fail(str(error))
    for answer in answers if not view.watch else ():
        click.echo(json.dumps(answer) if view.as_json else printable(answer["message"]))
    return _Changed(client, of, node["name"], keys)


def _table(rows: list[dict[str, Any]]) -> list[Any]:
    from lbcore.remote.show import weights_table

    return [weights_table(rows)]
