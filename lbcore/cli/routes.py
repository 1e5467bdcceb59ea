"""`lbcore routes`: the routers of a running instance, with what they lead to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from lbcore.cli.asking import Look, every, viewing
from lbcore.cli.base import EXIT_DOWN, EXIT_WELL, AskingCommand

if TYPE_CHECKING:
    from lbcore.remote.client import ApiClient

LAYERS = ("http", "tcp", "udp")


@click.command(cls=AskingCommand)
@click.argument("words", nargs=-1)
@click.option("--layer", type=click.Choice(LAYERS), help="Routers of this layer alone.")
@click.option("--disabled", is_flag=True, help="Routers alone that do not run.")
@click.option("--all", "with_own", is_flag=True, help="Also lbcore's own: api@internal and its like.")
@viewing()
def routes(words: tuple[str, ...], layer: str | None, disabled: bool, with_own: bool, view: Any) -> None:
    """List the routers of a running instance in the order of trial: rule, entry points, middlewares, service.

    With WORDS, those in whose name, rule, entry points, middlewares or service all of them occur.

    \b
    Exit codes:
      0  all routers that are shown run
      1  the instance cannot be asked
      2  one of them is disabled
    """
    from lbcore.remote.listed import Routes

    def look(client: ApiClient) -> Look:
        found = []
        for each in (layer,) if layer else LAYERS:
            routers = [{"layer": each, **router} for router in every(client, f"/api/{each}/routers")]
            found += sorted(routers, key=lambda router: (-int(router.get("priority", 0)), router["name"]))
        kept = [
            router
            for router in found
            if (with_own or router["provider"] != "internal")
            and (not disabled or router["status"] == "disabled")
            and all(word.lower() in _text(router) for word in words)
        ]
        lost = any(router["status"] == "disabled" for router in kept)
        shown = Routes(kept) if kept else _none(words, layer, disabled)
        return Look(kept, [shown], EXIT_DOWN if lost else EXIT_WELL)

    view.show(look)


def _none(words: Sequence[str], layer: str | None, disabled: bool) -> str:
    """What is said if no router is shown."""
    of = f"{layer.upper()} router" if layer else "router"
    having = f" has {' and '.join(map(repr, words))}" if words else ""
    return f"no {of}{having}{' and' if having and disabled else ''}{' is disabled' if disabled else ''}".strip() + (
        "" if having or disabled else ": nothing is routed"
    )


def _text(router: dict[str, Any]) -> str:
    lists = [*router.get("entryPoints", router.get("using", [])), *router.get("middlewares", [])]
    return " ".join([router["name"], router.get("rule", ""), router.get("service", ""), *lists]).lower()
