"""Compilation of services below the level of HTTP: what TCP and UDP have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lbcore.config.difference import changed_names, qualify
from lbcore.config.network import split_address
from lbcore.config.tcp import TcpSticky
from lbcore.config.tls import ServerTls, TlsConfig
from lbcore.config.validate.findings import Disabled
from lbcore.routing.balancer import Child, LoadBalancer, Weighted
from lbcore.routing.compile_targets import TargetCompiler, is_made_by
from lbcore.routing.hash_key import HashKey
from lbcore.routing.picker import Consistent
from lbcore.routing.server import Server
from lbcore.routing.service import Service
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap


@dataclass(frozen=True, slots=True)
class Layer4Part:
    """What a layer has become, and what of: if that stays, the next table has the same.

    routes  by entry point: of TCP in the order of trial, of UDP the only one.
    """

    config: Any
    tls: TlsConfig
    routes: Mapping[str, Any]
    services: dict[str, Service]
    servers: dict[str, Server]
    disabled: list[Disabled]
    warnings: list[str]

    def pieces(self) -> list[object]:
        """What is large in it beside what the table has, for `release`."""
        return []

    def is_of(self, config: Any, tls: TlsConfig) -> bool:
        """Whether it would be made of this."""
        kinds = type(config).model_fields
        same = all(changed_names(getattr(self.config, kind), getattr(config, kind)) == ([], []) for kind in kinds)
        return same and (tls is self.tls or tls == self.tls)


class Layer4Compiler:
    """Builds the services of a layer (`tcp`, `udp`) to which its routers lead, each once.

    touched  identities of servers that may be others than those of the table in force.
    """

    layer: str

    def __init__(
        self,
        configured: Mapping[str, Any],
        disabled: list[Disabled],
        slots: SlotMap,
        region: Region,
        worker: int,
        known: Mapping[str, Server],
    ) -> None:
        self.configured = configured  # services, by qualified name
        self.slots = slots
        self.region = region
        self.worker = worker
        self.known = known
        self.targets = TargetCompiler(known)
        self.servers: dict[str, Server] = {}
        self.services: dict[str, Service] = {}
        self.disabled = disabled
        self.taken: Layer4Part | None = None  # from the table in force, in place of what would be made
        self.base: Layer4Part | None = None  # of the table in force, of which objects are taken that stay
        self.remade: list[str] = []  # identities of servers of services that were made

    @property
    def touched(self) -> Collection[str]:
        if self.taken is not None:
            return ()
        if self.base is None:
            return [*self.servers, *(name for name in self.known if name.startswith(f"{self.layer}:"))]
        return [*self.remade, *(name for name in self.base.servers if name not in self.servers)]

    def follow(self, base: Layer4Part) -> None:
        """Take over those services of the table in force that stay."""
        self.base = base

    def take(self, before: Layer4Part) -> None:
        """Take over what the table in force has."""
        self.taken = before
        self.services, self.servers, self.disabled = before.services, before.servers, before.disabled

    def identity(self, name: str) -> str:
        """The identity of a service, by its qualified name, which a service of another layer may have, too."""
        return f"{self.layer}:{name}"

    def disable(self, kind: str, name: str, error: Exception) -> Disabled:
        """The entry for an object that cannot be built."""
        return Disabled(f"{self.layer}{kind}", name, [" ".join(str(error).split()) or repr(error)])

    def disabled_with_unused(self) -> list[Disabled]:
        """The objects that cannot run, including services to which no router leads. Does not change the routes."""
        self.services, self.servers = dict(self.services), dict(self.servers)
        wrong = {entry.name for entry in self.disabled if entry.kind == f"{self.layer}Service"}
        unused = []
        for name in self.configured:
            if name in wrong:
                continue
            try:
                self.service(name)
            except Exception as error:
                unused.append(self.disable("Service", name, error))
        return [*self.disabled, *unused]

    def service(self, name: str) -> Service:
        if name not in self.services:
            self.services[name] = self.as_before(name) or self.build(name, self.configured[name])
        return self.services[name]

    def as_before(self, name: str) -> Service | None:
        """The service of the table in force, if it chooses among the same servers; None: it has to be made."""
        config = self.configured[name]
        if self.base is None or self.base.config.services.get(name) is not config:
            return None
        found = self.base.services.get(name)
        if found is None or config.load_balancer is None:
            return None
        identity = self.identity(name)
        for server in config.load_balancer.servers:
            name = f"{identity}|{server.address}"
            known = self.base.servers.get(name)
            if known is None or self.known.get(name) is not known:
                return None
            self.servers[name] = known
        return found

    def build(self, name: str, config: Any) -> Service:
        """Build a service."""
        raise NotImplementedError

    def balancer(
        self, name: str, config: Any, sticky: TcpSticky | None, tls: Mapping[str, ServerTls] | None = None
    ) -> LoadBalancer:
        """A service that chooses among servers, with what all layers have. `tls`: by address, of those that use it."""
        identity = self.identity(name)
        keys, weights = [s.address for s in config.servers], [max(s.weight, 0) for s in config.servers]
        servers = [self.server(identity, address, (tls or {}).get(address)) for address in keys]
        balancer = LoadBalancer(name, servers, weights, self.region, self.slots.services[identity])
        picker = Consistent(HashKey(), keys, weights) if sticky is not None and sticky.source_ip is not None else None
        balancer.use(picker, None, config.health_check is not None)
        return balancer

    def weighted(self, name: str, config: Any) -> Weighted:
        members = [self.child(name, child.name) for child in config.services]
        weights = [max(child.weight, 0) for child in config.services]
        balancer = Weighted(name, members, weights, self.region, self.slots.services[self.identity(name)])
        balancer.use(None, None, config.health_check is not None)
        return balancer

    def child(self, parent: str, key: str) -> Child:
        """The service `key`, as written in the service `parent`."""
        member = f"{self.identity(parent)}|{key}"
        service = self.service(qualify(key, parent))
        return Child(member, key, self.region, self.worker, self.slots.servers[member], service)

    def server(self, service: str, address: str, tls: ServerTls | None) -> Server:
        identity = f"{service}|{address}"
        if identity not in self.servers:
            slot = self.slots.servers[identity]
            known = self.known.get(identity)
            if known is None or known.slot != slot or not is_made_by(known, tls):
                target = self.targets.target(tls, split_address(address)[0])
                known = Server(identity, address, self.region, self.worker, slot, False, target)
            self.servers[identity] = known
            self.remade.append(identity)
        return self.servers[identity]
