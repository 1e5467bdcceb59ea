"""The health monitor: one per instance, whatever the number of workers."""

from __future__ import annotations

import asyncio

from lbcore.config.dynamic import DynamicConfig, HealthCheck, LoadBalancer
from lbcore.config.static import StaticConfig
from lbcore.config.tcp import TcpHealthCheck
from lbcore.config.tls import ServerTls
from lbcore.config.validate import qualify
from lbcore.health.active import ServiceCheck
from lbcore.health.audit import Counted, InFlightAudit
from lbcore.health.passive import Ejections, Watched
from lbcore.health.slow_start import SlowStarts, Starting
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap


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

    def apply(self, dynamic: DynamicConfig, slots: SlotMap) -> None:
        """Follow a new configuration. Checks whose settings stay continue undisturbed, and all verdicts stay."""
        checks: dict[str, ServiceCheck] = {}
        passive: dict[int, Watched] = {}
        counted: dict[str, Counted] = {}
        own = dynamic.tls.identity
        for name, service in dynamic.http.services.items():
            balancer = service.load_balancer
            if balancer is None:
                continue
            servers = {server.url: slots.servers[f"{name}|{server.url}"] for server in balancer.sited}
            if balancer.health_check is not None:
                transport = dynamic.http.servers_transports.get(qualify(balancer.servers_transport, name))
                tls = (self._transport if transport is None else transport).server_tls(own)
                checks[name] = self._check(name, balancer.health_check, servers, dict.fromkeys(servers, tls))
            if balancer.passive_health_check is not None:
                for url, slot in servers.items():
                    passive[slot] = Watched(slot, name, url, balancer.passive_health_check)
            if is_counted(balancer):
                counted[name] = Counted(slots.services[name], tuple(servers.values()))
        for name, tcp in dynamic.tcp.services.items():
            if tcp.load_balancer is not None and tcp.load_balancer.health_check is not None:
                identity = f"tcp:{name}"
                servers = {address: slots.servers[f"{identity}|{address}"] for address in tcp.members}
                named = dynamic.tcp.servers_transports.get(qualify(tcp.load_balancer.servers_transport, name))
                tls = self._tcp_transport.server_tls(own)
                if named is not None:
                    tls = named.tls.server_tls(own) if named.tls is not None else ServerTls()
                over = {server.address: tls for server in tcp.load_balancer.servers if server.tls}
                checks[identity] = self._check(identity, tcp.load_balancer.health_check, servers, over)
        for name, udp in dynamic.udp.services.items():
            if udp.load_balancer is not None and udp.load_balancer.health_check is not None:
                identity = f"udp:{name}"
                servers = {address: slots.servers[f"{identity}|{address}"] for address in udp.members}
                checks[identity] = self._check(identity, udp.load_balancer.health_check, servers, {})
        for gone in self._checks.values():
            gone.stop(forget=True)
        self._checks = checks
        self._ejections.watch(passive)
        self._audit.watch(counted, frozenset(slots.servers.values()))
        # After the checks, which have marked servers that start down.
        self._slow_starts.watch(starting(dynamic, slots), frozenset(slots.servers))

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

    def error(self, service: str, url: str) -> str:
        """The reason why the last active check of a server failed; empty if it did not."""
        check = self._checks.get(service)
        return check.errors.get(url, "") if check else ""


def is_counted(balancer: LoadBalancer) -> bool:
    """Whether exchanges in flight at the servers of a service are counted over all workers."""
    return balancer.is_limited or balancer.strategy != "wrr"


def starting(dynamic: DynamicConfig, slots: SlotMap) -> dict[int, Starting]:
    """The members with slow start, by slot."""
    found: dict[int, Starting] = {}
    for name, service in dynamic.http.services.items():
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
