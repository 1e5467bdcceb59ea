"""`lbcore weights`: show the weights of a service of a running instance, override them, and end that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from lbcore.cli.asking import TOKEN, Look, needs_token, services_named, viewing
from lbcore.cli.base import EXIT_DOWN, EXIT_WELL, AskingCommand, fail
from lbcore.remote.printable import printable

if TYPE_CHECKING:
    from lbcore.remote.client import ApiClient

LAYER = click.option(
    "--layer", type=click.Choice(["http", "tcp", "udp"]), help="Of the service, if several have its name."
)


@click.command(cls=AskingCommand)
@click.argument("service", required=False, default="", shell_complete=services_named)
@click.argument("weights", nargs=-1)
@click.option("--reset", is_flag=True, help="End all overrides of the service.")
@click.option("--force", is_flag=True, help="Even if no member is left to choose, and requests are refused.")
@LAYER
@TOKEN
@viewing()
def weights(
    service: str, weights: tuple[str, ...], reset: bool, force: bool, layer: str | None, token: str, view: Any
) -> None:
    """Show or override the weights of a service of a running instance: lbcore weights shop v1=90 v2=10.

    Without weights, shows those in force, and the share that each member has had; without SERVICE, of all services
    whose weights are overridden. Overrides stay until they are reset, also over reloads, and `lbcore status` shows
    them. Weights that leave the service without a member to choose need --force.

    \b
    Exit codes:
      0  they are shown, or set
      1  the instance cannot be asked, or refuses; the command is wrong
      2  the service that is shown has no member to choose
    """
    from lbcore.remote.show import members_of, overridden, weights_table

    if reset and not service:
        fail("--reset needs a service: lbcore weights SERVICE --reset")
    if reset and weights:
        fail("give weights like v1=90 v2=10, or --reset")
    if reset or weights:
        node = _set(service, weights, reset, force, layer, token, view.url)
        if not view.watch:
            _tell(node, view.as_json)
            return

    def look(client: ApiClient) -> Look:
        roots = client.ask("/api/tree")
        if not service:
            rows = overridden(roots)
            return Look(rows, [weights_table(rows) if rows else "no weight is overridden"])
        node = find(roots, service, layer)[1]
        rows = members_of(node)
        chosen = any(row["effectiveWeight"] for row in rows) or not any("weight" in row for row in rows)
        return Look(rows, [weights_table(rows)], EXIT_WELL if chosen else EXIT_DOWN)

    view.show(look)


def find(
    roots: list[dict[str, Any]], service: str, layer: str | None, or_unused: bool = False
) -> tuple[str, dict[str, Any]]:
    """The layer and the node of a service.

    service    with its provider, or without one if it is the only one.
    or_unused  it may be one to which no router leads: its node has the name alone.
    """
    from lbcore.remote.show import all_services

    found = {
        (of, node["name"]): node
        for of, node in all_services(roots)
        if (not layer or of == layer) and service in (node["name"], node["name"].partition("@")[0])
    }
    if len(found) > 1:
        names = ", ".join(f"{name} ({of})" for of, name in found)
        fail(f"{service} may be {names}: write the whole name, and --layer")
    if not found and or_unused:
        return layer or "http", {"name": service}
    if not found:
        fail(f"no router leads to a service {service}; see lbcore status")
    [((of, _), node)] = found.items()
    return of, node


def members_named(node: dict[str, Any], names: Iterable[str]) -> list[str]:
    """The keys of members of a service that are named by them or by a part of them. As they are if it has no others."""
    from lbcore.remote.show import key_of, parts_of

    keys = [key_of(part) for part in parts_of(node)]
    found = []
    for name in names:
        meant = [name] if name in keys or not keys else [key for key in keys if name in key]
        if len(meant) != 1:
            known = "may be" if meant else "is none of"
            fail(f"{name} {known} {', '.join(meant or keys)}")
        found += meant
    return found


def _set(
    service: str, weights: tuple[str, ...], reset: bool, force: bool, layer: str | None, token: str, url: str
) -> dict[str, Any]:
    """Change the weights of a service. Returns its node."""
    from lbcore.remote.client import ApiClient, ApiError

    wanted = {}
    for pair in weights:
        key, _, number = pair.rpartition("=")
        if not key or not (number.isascii() and number.isdigit()):
            fail(f"{pair!r} is no weight: write name=number")
        if key in wanted:
            fail(f"{key} is given two weights")
        wanted[key] = int(number)
    needs_token(token)
    try:
        client = ApiClient(url, token)
        query = "?force=true" if force else ""
        of, node = find(client.ask("/api/tree"), service, layer, or_unused=True)
        path = f"/api/{of}/services/{quote(node['name'], safe='@')}/weights{query}"
        meant = dict(zip(members_named(node, wanted), wanted.values(), strict=True))
        if len(meant) < len(wanted):
            fail(f"{' '.join(weights)} gives a member two weights")
        answer = client.ask(path, "DELETE" if reset else "PUT", None if reset else meant)
    except ApiError as error:
        fail(str(error))
    return {"name": node["name"], **answer["health"]}


def _tell(node: dict[str, Any], as_json: bool) -> None:
    """Print the weights of a service that were changed."""
    import json

    from lbcore.remote.show import members_of

    rows = members_of(node)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        override = " (overridden)" if "overriddenWeight" in row else ""
        click.echo(f"{printable(row['member'])}: {row['effectiveWeight']}{override}")
