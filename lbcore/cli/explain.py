"""`lbcore explain`: why a request goes where it goes, by a configuration or by a running instance."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lbcore.cli.asking import Look, View, viewing
from lbcore.cli.base import AskingCommand, fail, print_problems


@click.command(cls=AskingCommand)
@click.option(
    "--config", "--configFile", "config", type=click.Path(exists=True, dir_okay=False), help="A file instead of --api."
)
@click.argument("request")
@click.option("-H", "--header", "headers", multiple=True, help="A header of the request, 'Name: value'.")
@click.option("--client", default="192.0.2.1", help="Address of the client.")
@click.option("--entry-point", default="", help="The one that receives it; default: by port and scheme of the URL.")
@viewing()
def explain(
    config: str | None, request: str, headers: tuple[str, ...], client: str, entry_point: str, view: View
) -> None:
    """Explain the route of a request: lbcore explain --config traefik.yml 'GET http://shop.test/cart' -H 'X-QA: 1'.

    Shows which router matches and why the others do not, also below routers that have others below them, what each
    middleware would make of the request, each level of services with its weights, and the server. No request is sent.

    `tcp://db.test` is a connection with TLS for that name, `tcp://` one without TLS, `udp://` a session of datagrams.

    The file is a static one, or a dynamic one alone, whose entry points are then assumed; all servers are taken for
    healthy. Without --config a running instance explains, with its health and weights.

    \b
    Exit codes:
      0  it is explained
      1  it is no request, the configuration is refused, or the instance cannot be asked
    """
    asked = {"request": request, "headers": list(headers), "client": client, "entryPoint": entry_point}
    if config:
        view.again(lambda: _shown(_by_file(config, request, headers, client, entry_point)))
    view.show(lambda api: _shown(api.ask("/api/explain", "POST", asked)["lines"]))


def _shown(lines: list[str]) -> Look:
    return Look({"lines": lines}, [*lines])


def _by_file(config: str, request: str, headers: tuple[str, ...], client: str, entry_point: str) -> list[str]:
    from lbcore.api.explain import assumed_static
    from lbcore.api.explain import explain as explain_lines
    from lbcore.api.runtime import Runtime
    from lbcore.config.load import is_static, load_dynamic, load_static
    from lbcore.errors import ConfigError
    from lbcore.process.snapshot import Publisher
    from lbcore.provider.merge import merge
    from lbcore.state.region import Region

    try:
        if is_static(Path(config)):
            static = load_static(config)
            file = static.providers.file
            if file is None:
                fail(f"{config} names no file provider: it has nothing to explain")
            dynamic, _ = load_dynamic(file.filename or file.directory)
        else:
            dynamic, _ = load_dynamic(config)
            static = assumed_static(dynamic)
        region = Region.create(1)
        runtime = Runtime(static, region, "unix:/")
        snapshot = Publisher(region, "unix:/").publish(merge({"file": dynamic}))
        runtime.update(snapshot.dynamic, snapshot.slots)
        return list(explain_lines(runtime, request, headers, client, entry_point, is_apart=True))
    except ConfigError as error:
        print_problems(error.problems)
        sys.exit(1)
    except ValueError as error:
        fail(str(error))
