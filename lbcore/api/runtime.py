"""The source of all views: the configuration in force, its services, and the shared state. No I/O."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from lbcore.api.changes import Changes
from lbcore.api.losses import Losses
from lbcore.config.difference import changed_names, qualify
from lbcore.config.dynamic import DynamicConfig, Router, Service
from lbcore.config.resolved import udp_entry_points_of
from lbcore.config.static import StaticConfig
from lbcore.config.tcp import TcpRouter, TcpService
from lbcore.config.udp import UdpRouter, UdpService
from lbcore.routing.compile import compile_table
from lbcore.routing.service import Service as RunningService
from lbcore.routing.table import Table
from lbcore.state.check_result import CheckResult
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap
from lbcore.tls.material import library_name

if TYPE_CHECKING:
    from lbcore.api.operating import LogLevel, PingSwitch, Stop
    from lbcore.tls.describe import Described


@dataclass(frozen=True, slots=True)
class Words:
    """How texts for users speak of a layer. `router_kind`: the kind of its routers in `Disabled`."""

    prefix: str
    units: str
    router_kind: str


LAYERS = {
    "http": Words("", "requests", "router"),
    "tcp": Words("TCP ", "connections", "tcpRouter"),
    "udp": Words("UDP ", "sessions", "udpRouter"),
}


def _no_check(service: str, url: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker process.

    state        running, starting, or hanging.
    accepted_by  another worker that accepts in its place.
    """

    index: int
    pid: int
    state: str
    generation: int
    quiet_s: float = 0.0
    accepted_by: int | None = None


class ProviderStatus(Protocol):
    """A provider: what it has given, and what it lacks. See `lbcore.provider.state`."""

    name: str
    succeeded_unix_s: float
    failed_unix_s: float
    failures: int
    problems: tuple[str, ...]
    objects: int
    is_readable: bool

    @property
    def age_s(self) -> float:
        """The time since its configuration was read."""


class FleetStatus(Protocol):
    """What is known of the instances that serve the same. See `lbcore.fleet.agent`."""

    @property
    def name(self) -> str:
        """The name of the fleet."""

    @property
    def instances(self) -> int:
        """That live, this one among them."""

    @property
    def problem(self) -> str:
        """Why no more is known; empty: nothing is wrong."""

    @property
    def shed(self) -> int:
        """Opinions that were not told, and weights that were dropped, for want of room."""


class RestTarget(Protocol):
    """The provider whose configuration clients put. See `lbcore.provider.rest`."""

    async def put(self, body: bytes) -> list[str]:
        """Use a configuration. Returns why not, if it is not used. Raises OSError if it cannot be stored."""

    async def clear(self) -> None:
        """Use an empty configuration. Raises OSError if that cannot be stored."""


class SentCounts(Protocol):
    """What sends to collectors. See `lbcore.telemetry.agent`."""

    @property
    def spans_sent(self) -> int:
        """Spans that a collector has taken."""

    @property
    def log_records_sent(self) -> int:
        """Records of the access log that a collector has taken."""

    @property
    def away(self) -> Sequence[str]:
        """What cannot be sent now, and why."""


def _no_providers() -> Sequence[ProviderStatus]:
    return []


def _alone() -> FleetStatus | None:
    return None


def _not_shared(weights: Mapping[str, int | None]) -> None:
    return None


def _nothing_to_renew(names: Sequence[str]) -> list[tuple[str, ...]]:
    return []


def _not_watched(watches: Sequence[Mapping[str, Any]]) -> None:
    return None


async def _no_sessions(asked: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[int]]:
    return [], []


def _nothing() -> None:
    return None


def _no_workers() -> list[WorkerState]:
    return []


async def _no_reports() -> Mapping[int, dict[str, Any]]:
    return {}


@dataclass
class ReloadStatus:
    """The results of reloads.

    generation         number of the configuration in force; each worker follows within milliseconds.
    reloads            number of configurations that have come into force.
    failures           number of configurations that were refused, or are not in force as they are written.
    succeeded_unix_s   time of the last configuration that is in force as it is written; 0 = there was none.
    failed_unix_s      time of the last failure.
    refused            reasons why the configuration of a provider, or all of it, is not in force; empty if it is.
    kept               by kind and qualified name: the errors of objects that stay in their previous version.
    last               what the configuration in force has changed of the one before; None: there was none before.
    changed_at         number of the last configuration that has changed something; `changed`: what. 0: none has.
    warnings           what is in force, but is probably not intended.
    places             by kind and qualified name: `file:line` of what is broken, as far as it was read from a file.
    reasons            by kind and qualified name: why it is broken, each reason with its own place.
    """

    generation: int = 0
    reloads: int = 0
    failures: int = 0
    succeeded_unix_s: float = 0.0
    failed_unix_s: float = 0.0
    refused: list[str] = field(default_factory=list)
    kept: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    last: Changes | None = None
    changed_at: int = 0
    changed: Changes | None = None
    warnings: list[str] = field(default_factory=list)
    places: dict[tuple[str, str], str] = field(default_factory=dict)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)

    def reason(self, kind: str, name: str, errors: Sequence[str]) -> str:
        """Why an object with these errors is broken."""
        return self.reasons.get((kind, name)) or "; ".join(errors)

    def succeed(self) -> None:
        """A configuration is in force as it is written."""
        self.succeeded_unix_s = time.time()

    def fail(self) -> None:
        """A configuration is not in force, or not as it is written."""
        self.failures += 1
        self.failed_unix_s = time.time()


def _servers_of(service: Service | TcpService | UdpService) -> int:
    return len(service.members) if service.load_balancer else 0


@dataclass
class Runtime:
    """One per instance; `update` follows its configurations.

    admin        URL of the admin server.
    last_check   returns the last active check of a server (service, URL); None: there was none.
    log_lines_lost  lines of the log that could not be written.
    renew        orders certificates that serve any of some names anew, or all; returns the names of each.
    providers    the state of each provider.
    rest         the provider whose configuration clients put, if there is one.
    read_again   asks all providers to read their configurations again.
    set_taps     makes the workers show single requests to these watches, and to no others: see `api.tap`.
    ask_workers  has all workers list open sessions, or end some: their answers, and those that have not answered. See
                 `api.sessions`.
    telemetry    what sends to collectors, if any is configured.
    fleet        what is known of the instances that serve the same; None: this one is alone.
    share_weights  has overrides of weights, by identity of a service's member, hold for these, too.
    bound        by name of an entry point: the address on which it listens.
    unreached    by slot of a server: the Unix time since when it cannot be reached, as traffic has shown.
    losses       what is being lost of what the instance writes and sends.
    log_level    the level of the log; None: it is another program's.
    ping         whether the ping fails by hand.
    stop         the end of the process; None: it is another program's.
    ask_memory   asks each worker what memory it uses; see `lbcore.api.used`.
    """

    static: StaticConfig
    region: Region
    admin: str = ""
    last_check: Callable[[str, str], CheckResult | None] = _no_check
    dynamic: DynamicConfig = field(default_factory=DynamicConfig)
    slots: SlotMap = field(default_factory=SlotMap)
    table: Table | None = None
    reload: ReloadStatus = field(default_factory=ReloadStatus)
    workers: Callable[[], list[WorkerState]] = _no_workers
    log_lines_lost: Callable[[], int] = int
    renew: Callable[[Sequence[str]], list[tuple[str, ...]]] = _nothing_to_renew
    providers: Callable[[], Sequence[ProviderStatus]] = _no_providers
    rest: RestTarget | None = None
    read_again: Callable[[], None] = _nothing
    set_taps: Callable[[Sequence[Mapping[str, Any]]], None] = _not_watched
    ask_workers: Callable[[Mapping[str, Any]], Awaitable[tuple[list[dict[str, Any]], list[int]]]] = _no_sessions
    telemetry: SentCounts | None = None
    fleet: Callable[[], FleetStatus | None] = _alone
    share_weights: Callable[[Mapping[str, int | None]], None] = _not_shared
    bound: Mapping[str, str] = field(default_factory=dict)
    unreached: Mapping[int, float] = field(default_factory=dict)
    losses: Losses = field(default_factory=Losses)
    log_level: LogLevel | None = None
    ping: PingSwitch | None = None
    stop: Stop | None = None
    ask_memory: Callable[[], Awaitable[Mapping[int, dict[str, Any]]]] = _no_reports
    started_unix_s: float = field(default_factory=time.time)
    _derived: dict[str, Any] = field(default_factory=dict)
    _servers: int = 0  # of HTTP

    def update(self, dynamic: DynamicConfig, slots: SlotMap, table: Table | None = None) -> None:
        """Follow a new configuration; `table`: its compiled form, if there is one, by which no request is routed."""
        if table is None:
            known = self.table.servers if self.table is not None else {}
            table = compile_table(dynamic, self.static, slots, self.region, 0, known, None, self.admin)
            table.take_effect()
        before, after = self.dynamic.http.services, dynamic.http.services
        changed, gone = changed_names(before, after)
        self._servers += sum(map(_servers_of, map(after.__getitem__, changed)))
        self._servers -= sum(_servers_of(before[name]) for name in (*changed, *gone) if name in before)
        self.dynamic, self.slots, self.table, self._derived = dynamic, slots, table, {}

    @property
    def servers(self) -> int:
        """The number of servers of the configuration in force, of all layers."""
        tcp, udp = self.dynamic.tcp.services.values(), self.dynamic.udp.services.values()
        return self._servers + sum(map(_servers_of, tcp)) + sum(map(_servers_of, udp))

    def certificates(self) -> list[Described]:
        """Those of the configuration in force, by their names."""
        if not self.dynamic.tls.certificates and not self.dynamic.tls.stores:
            return []
        from lbcore.tls.describe import certificates_of

        found: list[Described] = self.derived("certificates", lambda: certificates_of(self.dynamic.tls))
        return found

    def tls_library(self) -> str:
        """Version and origin of what speaks TLS; empty: nothing does."""
        return library_name() if self.table is not None and self.table.speaks_tls else ""

    def derived(self, key: str, make: Callable[[], Any]) -> Any:
        """A value that depends on the configuration alone, which `make` computes once. It must not be changed."""
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]

    def findings(self, kind: str, name: str) -> tuple[list[str], list[str]]:
        """The reasons why an object does not run, and those why it runs in its previous version."""
        kept = [f"the version before runs: {error}" for error in self.reload.kept.get((kind, name), [])]
        return list(self.errors(kind).get(name, [])), kept

    @property
    def own_errors(self) -> Mapping[str, list[str]]:
        """By entry point: why none of lbcore's own routers runs there."""
        return self.table.own_errors if self.table is not None else {}

    def roots(self, names: Collection[str] | None = None) -> Iterator[tuple[str, str, RunningService, list[str]]]:
        """The services to which running routers lead: layer (of LAYERS), qualified name, service, router names.

        names  those of HTTP that are wanted; None: all.
        """
        if self.table is None:
            return
        for layer in LAYERS:
            services = self.services_of(layer)
            disabled = self.errors(LAYERS[layer].router_kind)
            users: dict[str, list[str]] = {}
            if layer == "http" and names is not None:
                known = self.table.made_of.checked.users.of["service"]
                for name in names:
                    if using := [user for kind, user in known.get(name, ()) if kind == "router"]:
                        users[name] = [user for user in using if user not in disabled]
            else:
                for name, router in self.routers_of(layer).items():
                    if name not in disabled:
                        users.setdefault(qualify(router.service, name), []).append(name)
            for name, using in users.items():
                if using and name in services:  # not one of lbcore's own
                    yield layer, name, services[name], using

    def services_of(self, layer: str) -> Mapping[str, RunningService]:
        """The services of a layer that run, by qualified name."""
        table = self.table
        if table is None:
            return {}
        return {"http": table.services, "tcp": table.tcp_services, "udp": table.udp_services}.get(layer, {})

    def routers_of(self, layer: str) -> Mapping[str, Router | TcpRouter | UdpRouter]:
        """The configured routers of a layer (a key of `LAYERS`), by qualified name."""
        routers: Mapping[str, Router | TcpRouter | UdpRouter] = getattr(self.dynamic, layer).routers
        return routers

    def traffic_of(self, layer: str, name: str) -> str:
        """The rule of a router; for UDP its entry points; empty if it is not configured."""
        router = self.routers_of(layer).get(name)
        if isinstance(router, UdpRouter):
            return ", ".join(udp_entry_points_of(router, self.static))
        return router.rule if router is not None else ""

    def errors(self, kind: str) -> Mapping[str, list[str]]:
        """The errors of disabled objects of a kind (router, service, middleware), by qualified name."""
        table = self.table
        if table is None:
            return {}
        found: Mapping[str, list[str]] = self.derived(
            f"errors of {kind}", lambda: {entry.name: entry.errors for entry in table.disabled if entry.kind == kind}
        )
        return found
