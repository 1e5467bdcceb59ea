"""Plugins of Traefik, which lbcore cannot run: how they are declared, and what becomes of their middlewares. No I/O."""

from typing import ClassVar, Literal

from lbcore.config.model import Model


class PluginSettings(Model):
    """Settings for a plugin, which may hold secrets, and are not read."""

    may_be_empty: ClassVar[bool] = True
    unread: ClassVar[bool] = True


class PluginSource(Model):
    """`experimental.plugins.NAME`: where Traefik gets a plugin."""

    module_name: str = ""
    version: str = ""
    hash: str = ""
    settings: PluginSettings | None = None


class LocalPlugin(Model):
    """`experimental.localPlugins.NAME`: a plugin that is there already."""

    module_name: str = ""
    settings: PluginSettings | None = None


class MissingPlugin(Model):
    """`plugins.NAME` (extension): what becomes of middlewares that use the plugin.

    refuse  they are disabled, with their routers. bypass: they are left out, and requests pass.
    """

    on_missing: Literal["refuse", "bypass"] = "refuse"


def how_to_bypass(name: str) -> str:
    """What to write for requests to pass without a plugin."""
    return f"lbcore: {{plugins: {{{name}: {{onMissing: bypass}}}}}} in the static file lets requests pass without it"
