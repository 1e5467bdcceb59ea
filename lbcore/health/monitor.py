"""The health monitor: one per instance, whatever the number of workers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from lbcore.config.difference import changed_names, qualify
from lbcore.config.dynamic import DynamicConfig, HealthCheck, HttpConfig, LoadBalancer, Service
from lbcore.config.spiffe import Identity
from lbcore.config.static import StaticConfig
from lbcore.config.tcp import TcpHealthCheck
from lbcore.config.tls import ServerTls
from lbcore.health.active import ServiceCheck
from lbcore.health.audit import Counted, InFlightAudit
from lbcore.health.passive import Ejections, Watched
from lbcore.health.slow_start import SlowStarts, Starting
from lbcore.state.check_result import CheckResult
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap


@dataclass(frozen=True, slots=True)
class _Need:
    """What has to be done for a service. `servers`: slots by URL; `is_parent`: its members are services."""

    check: HealthCheck | None = None
    servers: dict[str, int] = field(default_factory=dict)
    tls: ServerTls = field(default_factory=ServerTls)
    passive: dict[int, Watched] = field(default_factory=dict)
    counted: Counted | None = None
    starting: dict[int, Starting] = field(default_factory=dict)
    is_parent: bool = False


class HealthMonitor:
    """Runs the checks of the configuration in force. Verdicts are in the shared region, where every worker sees them.

    static  has the TLS settings towards servers of services without a serversTransport.
    """

    def __init__(self, region: Region, static: StaticConfig | None = None) -> None:
        static = static or StaticConfig()
        self._region = region
        self._transport = static.servers_transport
        self._tcp_transport = static.tcp_servers_transport
        self._checks: dict[str, ServiceCheck] = {}
        self._http = HttpConfig()  # that was applied last
        self._identity: Identity | None = None
        self._needs: dict[str, _Need] = {}  # by service
        self._ejections = Ejections(region)
        self._slow_starts = SlowStarts(region)
        self._audit = InFlightAudit(region)

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for part in (self._ejections, self._slow_starts, self._audit):
                    group.create_task(part.run())
        finally:
            for check in self._checks.values():
                check.stop(forget=False)

    @property
    def ejections(self) -> Ejections:
        """What ends ejections, and follows hints about servers."""
        return self._ejections

    def apply(self, dynamic: DynamicConfig, slots: SlotMap) -> None:
        """Follow a new configuration. Checks whose settings stay continue undisturbed, and all verdicts stay.

        Services that are the same objects as before are not looked at again.
        """
        http, own = dynamic.http, dynamic.tls.identity
        if own != self._identity or changed_names(self._http.servers_transports, http.servers_transports) != ([], []):
            self._needs.clear()
            self._http, self._identity = HttpConfig(), own
        changed, gone = changed_names(self._http.services, http.services)
        for name in gone:
            self._needs.pop(name, None)
        # A parent that watches may watch other children under the same names.
        for name in {*changed, *(name for name, need in self._needs.items() if need.is_parent)} & http.services.keys():
            need = self._need(name, http.services[name], dynamic, slots)
            if need is None:
                self._needs.pop(name, None)
            else:
                self._needs[name] = need
        self._http = http
        checks: dict[str, ServiceCheck] = {}
        passive: dict[int, Watched] = {}
        counted: dict[str, Counted] = {}
        starts: dict[int, Starting] = {}
        touched = set(changed)
        for name, need in self._needs.items():
            if need.check is not None:
                if name in self._checks and name not in touched:
                    checks[name] = self._checks.pop(name)
                else:
                    checks[name] = self._check(name, need.check, need.servers, dict.fromkeys(need.servers, need.tls))
            passive |= need.passive
            starts |= need.starting
            if need.counted is not None:
                counted[name] = need.counted
        for name, tcp in dynamic.tcp.services.items():
            if tcp.load_balancer is not None and tcp.load_balancer.health_check is not None:
                identity = f"tcp:{name}"
                servers = {s.address: slots.servers[f"{identity}|{s.address}"] for s in tcp.load_balancer.sited}
                named = dynamic.tcp.servers_transports.get(qualify(tcp.load_balancer.servers_transport, name))
                tls = self._tcp_transport.server_tls(own)
                if named is not None:
                    tls = named.tls.server_tls(own) if named.tls is not None else ServerTls()
                over = {server.address: tls for server in tcp.load_balancer.servers if server.tls}
                checks[identity] = self._check(identity, tcp.load_balancer.health_check, servers, over)
        for name, udp in dynamic.udp.services.items():
            if udp.load_balancer is not None and udp.load_balancer.health_check is not None:
                identity = f"udp:{name}"
                servers = {s.address: slots.servers[f"{identity}|{s.address}"] for s in udp.load_balancer.sited}
                checks[identity] = self._check(identity, udp.load_balancer.health_check, servers, {})
        for over_now in self._checks.values():
            over_now.stop(forget=True)
        self._checks = checks
        self._ejections.watch(passive)
        self._audit.watch(counted, frozenset(slots.servers.values()) if counted else ())
        # After the checks, which have marked servers that start down.
        self._slow_starts.watch(starts, slots.servers.keys())

    def _need(self, name: str, service: Service, dynamic: DynamicConfig, slots: SlotMap) -> _Need | None:
        """What has to be done for a service; None: nothing."""
        balancer, starts = service.load_balancer, starting(name, service, slots)
        is_parent = bool(starts) and service.weighted is not None
        if balancer is None:
            return _Need(starting=starts, is_parent=is_parent) if starts else None
        health, passive = balancer.health_check, balancer.passive_health_check
        if health is None and passive is None and not starts and not is_counted(balancer):
            return None
        servers = {server.url: slots.servers[f"{name}|{server.url}"] for server in balancer.sited}
        transport = dynamic.http.servers_transports.get(qualify(balancer.servers_transport, name))
        ejected = {} if passive is None else {slot: Watched(slot, name, url, passive) for url, slot in servers.items()}
        return _Need(
            check=health,
            servers=servers,
            tls=(self._transport if transport is None else transport).server_tls(dynamic.tls.identity),
            passive=ejected,
            counted=Counted(slots.services[name], tuple(servers.values())) if is_counted(balancer) else None,
            starting=starts,
            is_parent=is_parent,
        )

    def _check(
        self,
        name: str,
        config: HealthCheck | TcpHealthCheck,
        servers: dict[str, int],
        tls: dict[str, ServerTls],
    ) -> ServiceCheck:
        """The checks of a service: the running ones if their settings are the same, else new ones."""
        check = self._checks.pop(name, None)
        if check is not None and (check.check != config or any(check.tls.get(url) != tls.get(url) for url in servers)):
            check.stop(forget=False)
            check = None
        check = check or ServiceCheck(name, config, self._region, tls)
        check.tls = tls
        check.watch(servers)
        return check

    def last_check(self, service: str, url: str) -> CheckResult | None:
        """The last active check of a server; None: there was none."""
        check = self._checks.get(service)
        return check.results.get(url) if check else None


def is_counted(balancer: LoadBalancer) -> bool:
    """Whether exchanges in flight at the servers of a service are counted over all workers."""
    return balancer.is_limited or balancer.strategy != "wrr"


def starting(name: str, service: Service, slots: SlotMap) -> dict[int, Starting]:
    """The members of a service with slow start, by slot."""
    found: dict[int, Starting] = {}
    for parent in (service.load_balancer, service.weighted):
        if parent is None or parent.slow_start is None:
            continue
        for member in service.members:
            watched = None
            if service.weighted is not None and service.watches:
                watched = slots.services.get(qualify(member, name))
            identity = f"{name}|{member}"
            found[slots.servers[identity]] = Starting(identity, name, parent.slow_start, watched)
    return found
