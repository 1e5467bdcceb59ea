"""What an instance runs beside its data plane, loaded if it is configured: ACME, OCSP, SPIFFE, a fleet, collectors."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lbcore.api.runtime import Runtime
from lbcore.config.spiffe import Identity
from lbcore.config.static import StaticConfig
from lbcore.health.monitor import HealthMonitor
from lbcore.process.publication import Prepared, Publication
from lbcore.state.region import Region

if TYPE_CHECKING:
    from lbcore.acme.agent import AcmeAgent
    from lbcore.fleet.agent import FleetAgent
    from lbcore.ocsp.agent import StaplingAgent
    from lbcore.spiffe.agent import IdentityAgent
    from lbcore.telemetry.agent import Telemetry


class Consumers(Protocol):
    """The data planes of an instance, which use what the agents get."""

    async def set_challenges(
        self, texts: Mapping[str, str], certificates: Mapping[str, tuple[str, str]]
    ) -> None:
        """Answer these challenges of ACME from now on."""

    async def set_staples(self, added: Mapping[str, str], gone: Sequence[str]) -> None:
        """Send other OCSP responses from now on."""


class Agents:
    """The agents of one instance. They follow the configuration in force, as health checks and the API do."""

    def __init__(
        self,
        static: StaticConfig,
        region: Region,
        health: HealthMonitor,
        runtime: Runtime,
        publication: Publication,
        consumers: Consumers,
    ) -> None:
        self._health = health
        self._runtime = runtime
        self._acme = _acme(static, consumers)
        if self._acme is not None:
            runtime.renew = self._acme.renew
        self._stapling = _stapling(static, consumers)
        self._identity = _identity(static, publication.set_identity)
        self._telemetry = runtime.telemetry = _telemetry(static, region, runtime)
        self._fleet = _fleet(static, region, health, runtime)

    @property
    def providers(self) -> list[AcmeAgent]:
        """Those that publish configurations: ordered certificates."""
        return [] if self._acme is None else [self._acme]

    def services(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What has to run as long as the instance, by name, without the providers."""
        agents = {"ocsp": self._stapling, "spiffe": self._identity, "telemetry": self._telemetry, "fleet": self._fleet}
        return {name: agent.run() for name, agent in agents.items() if agent is not None}

    def follow(self, prepared: Prepared) -> None:
        """Follow the configuration that has come into force."""
        snapshot, table = prepared.snapshot, prepared.table
        self._health.apply(snapshot.dynamic, snapshot.slots)
        self._runtime.update(snapshot.dynamic, snapshot.slots, table)
        if self._acme is not None:
            self._acme.configured(snapshot.dynamic, {entry.name for entry in table.disabled})
        if self._stapling is not None:
            self._stapling.configured(snapshot.dynamic)
        if self._fleet is not None:
            self._fleet.configured(snapshot.slots, table.middlewares, table.places)

    async def flush(self) -> None:
        """Send what collectors have not got yet."""
        if self._telemetry is not None:
            await self._telemetry.flush()


def _acme(static: StaticConfig, consumers: Consumers) -> AcmeAgent | None:
    """The agent that orders certificates."""
    if not static.certificates_resolvers:
        return None
    from lbcore.acme.agent import AcmeAgent

    return AcmeAgent(static, consumers.set_challenges)


def _stapling(static: StaticConfig, consumers: Consumers) -> StaplingAgent | None:
    """The agent that fetches OCSP responses."""
    if static.ocsp is None:
        return None
    from lbcore.ocsp.agent import StaplingAgent

    return StaplingAgent(static.ocsp, consumers.set_staples)


def _fleet(static: StaticConfig, region: Region, health: HealthMonitor, runtime: Runtime) -> FleetAgent | None:
    """The agent that knows of other instances."""
    if static.fleet is None:
        return None
    from lbcore.fleet.agent import FleetAgent

    agent = FleetAgent(static.fleet, region, health.ejections)
    runtime.fleet = lambda: agent.state
    runtime.share_weights = agent.set_weights
    return agent


def _identity(static: StaticConfig, set_identity: Callable[[Identity], None]) -> IdentityAgent | None:
    """The agent that follows the Workload API of SPIFFE."""
    if static.spiffe is None:
        return None
    from lbcore.spiffe.agent import IdentityAgent

    return IdentityAgent(static.spiffe, set_identity)


def _telemetry(static: StaticConfig, region: Region, runtime: Runtime) -> Telemetry | None:
    """What sends to collectors."""
    if not static.has_telemetry:
        return None
    from lbcore.telemetry.agent import Telemetry

    return Telemetry(static, region, runtime)
