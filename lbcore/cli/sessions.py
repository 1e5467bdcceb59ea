"""`lbcore sessions`: what is open at a running instance, and the end of some of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from lbcore.cli.asking import API, TOKEN, Look, View, needs_token, viewing
from lbcore.cli.base import AskingCommand, fail
from lbcore.remote.printable import printable

if TYPE_CHECKING:
    from lbcore.remote.client import ApiClient

KINDS = ("http1", "http2", "http3", "stream", "upgrade", "tcp", "udp", "handshake")
FILTERS = (
    click.option("--kind", default="", metavar="KIND", help=f"One of {', '.join(KINDS)}."),
    click.option("--entry-point", "entrypoint", default="", help="That came in there."),
    click.option("--router", default="", help="That this router has taken, at any layer."),
    click.option("--service", default="", help="At a server of this service."),
    click.option("--server", default="", metavar="URL", help="At this server: its URL or address."),
    click.option("--client", default="", metavar="CIDR", help="From this address or network."),
)


class AskingGroup(AskingCommand, click.Group):
    """A command with others below it, that does something itself, too."""

    command_class = AskingCommand


def _filtered(function: Any) -> Any:
    for option in reversed(FILTERS):
        function = option(function)
    return function


@click.group(cls=AskingGroup, invoke_without_command=True)
@_filtered
@click.option("--limit", default=100, type=click.IntRange(1, 1000), show_default=True, help="Show so many.")
@click.option("--oldest", is_flag=True, help="Those that were opened first; else the latest ones.")
@viewing()
@click.pass_context
def sessions(context: click.Context, /, view: View, limit: int, oldest: bool, **filters: str) -> None:
    """List what is open: connections, streams, tunnels, sessions of UDP: lbcore sessions --server 10.0.0.2:80.

    For each: its id, which no other session has had or will have, its kind, client, entry point, router, service and
    server, its age, the time since something has moved, and bytes from and to the client. http1 is a connection with at
    most one request; http2 and http3 are connections with streams, each of which is a `stream` of its own; upgrade is
    a tunnel after a switch of protocols (WebSocket).

    \b
    Exit codes:
      0  they are listed
      1  the instance cannot be asked; the command is wrong
    """
    if context.invoked_subcommand is not None:
        return
    asked = {key: value for key, value in filters.items() if value}
    asked |= {"limit": str(limit), "order": "oldest" if oldest else "newest"}

    def look(client: ApiClient) -> Look:
        from lbcore.remote.sessions import sessions_table

        found = client.ask(f"/api/sessions?{urlencode(asked)}")
        rows = found["sessions"]
        more = found["found"] - len(rows)
        said = [f"{found['found']} session{'' if found['found'] == 1 else 's'}{f', {more} not shown' if more else ''}"]
        said += [f"worker {index} did not answer" for index in found["silent"]]
        return Look(found, [*([sessions_table(rows)] if rows else []), *said])

    view.show(look)


@sessions.command("close", cls=AskingCommand)
@click.argument("ids", nargs=-1)
@_filtered
@click.option("--force", is_flag=True, help="Even if more than 100 are closed by a filter.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@API
@TOKEN
def close(ids: tuple[str, ...], force: bool, as_json: bool, url: str, token: str, **filters: str) -> None:
    """Close sessions, by the ids that `lbcore sessions` lists, or by filters: lbcore sessions close --server http://a:80.

    A request ends as if its server had failed, and is not repeated: with 502, or, if its answer has begun, broken off.
    A connection of HTTP/1 then closes; of HTTP/2 and HTTP/3 it is the stream that ends, or, if the connection is named,
    all of its streams and then itself. Tunnels are closed both ways. Clients may come again: see `lbcore eject`.

    \b
    Exit codes:
      0  they are closed, as far as they were still open
      1  the instance cannot be asked, or refuses; the command is wrong
    """
    from lbcore.remote.client import ApiClient, ApiError

    needs_token(token)
    asked: dict[str, Any] = {key: value for key, value in filters.items() if value}
    if bool(ids) == bool(asked):
        fail("give ids of sessions, or filters: see lbcore sessions close --help")
    body = {"ids": list(ids)} if ids else asked
    try:
        answer = ApiClient(url, token).ask("/api/sessions/close", "POST", {**body, "force": force})
    except ApiError as error:
        fail(str(error))
    click.echo(json.dumps(answer) if as_json else printable(answer["message"]))
