"""`lbcore schema`: the JSON Schema of configurations."""

from __future__ import annotations

import json

import click

from lbcore.cli.base import Command, fail


@click.command(cls=Command)
@click.argument("kind", type=click.Choice(["static", "dynamic"]), default="dynamic")
@click.option("--python", "classes", multiple=True, metavar="PACKAGE.MODULE:CLASS", help="Add the options of a class.")
def schema(kind: str, classes: tuple[str, ...]) -> None:
    """Print the JSON Schema of the dynamic (or the static) configuration, for editors.

    It has the options of middlewares in Python that installed packages bring.
    """
    from lbcore.config.dynamic import DynamicConfig
    from lbcore.config.static import StaticConfig
    from lbcore.middleware.classes import with_options

    model = StaticConfig if kind == "static" else DynamicConfig
    text = model.model_json_schema(by_alias=True)
    if kind == "dynamic":
        try:
            text = with_options(text, [*classes])
        except ValueError as error:
            fail(str(error))
    text["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    click.echo(json.dumps(text, indent=2))
