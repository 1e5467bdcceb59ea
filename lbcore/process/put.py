"""Connects `providers.rest` with the API, which receives its configuration, and with the check of it."""

from __future__ import annotations

from collections.abc import Sequence

from lbcore.api.runtime import Runtime
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.lines import Lines
from lbcore.config.report import disabled_lines
from lbcore.config.static import StaticConfig
from lbcore.provider.base import Aggregator, Provider
from lbcore.routing.compile import find_problems


def connect_rest(static: StaticConfig, providers: Sequence[Provider], aggregator: Aggregator, runtime: Runtime) -> None:
    """Have the API hand what is put to its provider, if that is configured."""
    if static.providers.rest is None:
        return
    from lbcore.provider.rest import RestProvider

    [rest] = [provider for provider in providers if isinstance(provider, RestProvider)]

    def check(config: DynamicConfig) -> list[str]:
        disabled, _ = find_problems(aggregator.merged_with(rest.name, config), static)
        return disabled_lines([entry for entry in disabled if entry.name.endswith(f"@{rest.name}")], Lines())

    rest.check = check
    runtime.rest = rest
