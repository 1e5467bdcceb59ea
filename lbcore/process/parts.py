"""The parts of an instance around its data planes, put together: of one with worker processes, and of a Proxy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lbcore.api.runtime import Runtime
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig
from lbcore.health.monitor import HealthMonitor
from lbcore.process.agents import Agents, Consumers
from lbcore.process.publication import Prepared, Publication, Receivers
from lbcore.process.put import connect_rest
from lbcore.process.snapshot import Publisher
from lbcore.provider.base import Aggregator, Provider
from lbcore.routing.compile_own import own_routers
from lbcore.state.region import Region


class Planes(Receivers, Consumers, Protocol):
    """The data planes of an instance: worker processes, or the one of a Proxy."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What checks servers, answers the API, publishes configurations, and runs beside. Nothing of it runs by itself."""

    health: HealthMonitor
    runtime: Runtime
    publication: Publication
    agents: Agents

    def aggregate(
        self, static: StaticConfig, providers: Sequence[Provider], want: Callable[[DynamicConfig], None]
    ) -> Aggregator:
        """What runs the providers, and those of the agents. `want` is called with each merged configuration."""
        everyone = [*providers, *self.agents.providers]
        aggregator = Aggregator(everyone, want, self.publication.note_provider_problems)
        connect_rest(static, providers, aggregator, self.runtime)
        self.runtime.providers = lambda: aggregator.states
        self.runtime.read_again = aggregator.reload
        return aggregator


def parts_around(
    planes: Planes,
    static: StaticConfig,
    region: Region,
    admin_url: str,
    in_force: Callable[[Prepared], None],
    **known: Any,
) -> Parts:
    """Around the data planes of a region.

    in_force  called with each configuration that was committed; `agents.follow` is to be called there.
    known     what the API tells of the instance beside: arguments of Runtime.
    """
    health = HealthMonitor(region, static)
    runtime = Runtime(static, region, admin_url, health.last_check, **known)
    publisher = Publisher(region, admin_url, own_routers(static), lambda: planes.oldest_generation)
    keeps = static.providers.keep_running
    publication = Publication(static, region, publisher, planes, in_force, runtime.reload, admin_url, keeps)
    return Parts(health, runtime, publication, Agents(static, region, health, runtime, publication, planes))
