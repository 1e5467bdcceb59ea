"""`lbcore status`: the problems of a running instance, and its services as trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lbcore.cli.asking import Look, viewing
from lbcore.cli.base import EXIT_DOWN, EXIT_WELL, AskingCommand

if TYPE_CHECKING:
    from lbcore.remote.client import ApiClient


@click.command(cls=AskingCommand)
@click.option("--lost", is_flag=True, help="Exit with 2 for lost traffic alone, not for lost redundancy.")
@viewing()
def status(lost: bool, view: Any) -> None:
    """Show the services of a running instance as a tree: status, causes, weights, requests.

    Names each problem with the routers concerned: traffic or redundancy that is lost, configuration that is not in
    force, a /ping that fails by hand.

    \b
    Exit codes:
      0  all is well
      1  the instance cannot be asked
      2  something is down that takes traffic or redundancy away, configuration is not in force, or /ping fails by hand
    """
    from rich.text import Text

    from lbcore.remote.show import fleet_lines, problem_lines, provider_lines, trees

    def look(client: ApiClient) -> Look:
        asked = ("version", "overview", "tree", "state")
        version, overview, roots, state = (client.ask(f"/api/{name}") for name in asked)
        lines: list[Any] = [Text(f"lbcore {version['Version']}, since {version['startDate']}")]
        if state["tls"]:
            lines.append(Text(f"TLS by {state['tls']}"))
        for layer in ("http", "tcp", "udp"):
            counts = ", ".join(
                _counted(kind, n["total"] - (_own(client, kind) if layer == "http" else 0), n["errors"])
                for kind, n in overview[layer].items()
            )
            if layer == "http" or any(n["total"] for n in overview[layer].values()):
                lines.append(Text(f"{layer.upper()}: {counts}"))
        lines += [*provider_lines(state), *fleet_lines(state), *problem_lines(state), *trees(roots)]
        counted = [each for each in state["problems"] if not lost or each["severity"] == "lost"]
        data = {"version": version, "overview": overview, "state": state, "tree": roots}
        return Look(data, lines, EXIT_DOWN if counted else EXIT_WELL)

    view.show(look)


def _own(client: ApiClient, kind: str) -> int:
    """How many of a kind are lbcore's own: api@internal and its like, which nobody has configured."""
    return int(client.ask(f"/api/search?layer=http&provider=internal&per_page=1&kind={kind}")["total"])


def _counted(kind: str, count: int, disabled: int) -> str:
    return f"{count} {kind.removesuffix('s') if count == 1 else kind} ({disabled} disabled)"
