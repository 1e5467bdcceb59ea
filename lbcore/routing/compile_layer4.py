"""Compilation of services below the level of HTTP: what TCP and UDP have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lbcore.config.difference import OF_KIND, Difference, Users, changed_names, copied, qualify
from lbcore.config.network import split_address
from lbcore.config.tcp import TcpSticky
from lbcore.config.tls import ServerTls, TlsConfig
from lbcore.config.validate.findings import Disabled, Todo
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
    users   who refers to whom.
    leads   by router that runs: the service to which it leads.
    """

    layer: ClassVar[str]

    config: Any
    tls: TlsConfig
    routes: Mapping[str, Any]
    services: dict[str, Service]
    servers: dict[str, Server]
    disabled: list[Disabled]
    warnings: list[str]
    users: Users
    leads: Mapping[str, str]

    def pieces(self) -> list[object]:
        """What is large in it beside what the table has, for `release`."""
        return [self.leads, *self.users.of.values()]

    def concerned(self, config: Any) -> tuple[Users, Todo | None]:
        """Who refers to whom in another configuration with the same TLS options, and the objects that have to be made
        again: those that differ, those that refer to them, and those that could not run. None: all, because most of it
        has changed.

        The names of objects that are gone are among them.
        """
        difference = Difference.of_layer(self.layer, self.config, config)
        touched = {kind: difference.touched(self.layer, section) for kind, section in OF_KIND.items()}
        if sum(map(len, touched.values())) > len(config.routers) + len(config.services):
            return Users.all(config), None
        users = self.users.follow(self.config, config, touched)
        kinds = {f"{self.layer}{kind[0].upper()}{kind[1:]}": kind for kind in OF_KIND}  # as in `Disabled`
        start = [(kind, name) for kind, names in touched.items() for name in names]
        return users, users.above([*start, *((kinds[entry.kind], entry.name) for entry in self.disabled)])

    def is_of(self, config: Any, tls: TlsConfig) -> bool:
        """Whether it would be made of this."""
        kinds = type(config).model_fields
        same = all(changed_names(getattr(self.config, kind), getattr(config, kind)) == ([], []) for kind in kinds)
        return same and (tls is self.tls or tls == self.tls)


class Layer4Compiler:
    """Builds the services of a layer (`tcp`, `udp`) to which its routers lead, each once.

    users, todo  who refers to whom, and the objects that have to be made; None: all.
    before       of the table in force, of which objects are taken that stay; None: there is nothing of it.
    dropped      identities of its servers, of services that are made again, or not at all.
    touched      identities of servers that may be others than those of the table in force.
    """

    layer: str

    def __init__(
        self,
        config: Any,
        before: Layer4Part | None,
        stays: bool,
        slots: SlotMap,
        region: Region,
        worker: int,
        known: Mapping[str, Server],
    ) -> None:
        self.config = config
        self.configured: Mapping[str, Any] = config.services  # by qualified name
        self.slots = slots
        self.region = region
        self.worker = worker
        self.known = known
        self.targets = TargetCompiler(known)
        self.servers: dict[str, Server] = {}
        self.services: dict[str, Service] = {}
        self.disabled: list[Disabled] = []
        self.taken: Layer4Part | None = None  # from the table in force, in place of what would be made
        self.before: Layer4Part | None = None
        self.remade: list[str] = []  # identities of servers of services that were made
        self.dropped: list[str] = []
        self.users, self.todo = Users(), None
        if stays and before is not None:
            self.taken = before
            self.services, self.servers, self.disabled = before.services, before.servers, before.disabled
        elif before is None:
            self.users = Users.all(config)
        else:
            self.users, self.todo = before.concerned(config)
        if not stays and before is not None and self.todo is not None:
            self.before = before
            self.services, self.servers = copied(before.services), copied(before.servers)
            self.drop(self.todo["service"], before.config)

    @property
    def touched(self) -> Collection[str]:
        if self.taken is not None:
            return ()
        if self.before is None:
            return [*self.servers, *(name for name in self.known if name.startswith(f"{self.layer}:"))]
        return [*self.remade, *self.dropped]

    def drop(self, names: Iterable[str], config: Any) -> None:
        """Leave out services, which are those of this configuration, and their servers."""
        for name in names:
            if self.services.pop(name, None) is None:
                continue
            balancer, identity = config.services[name].load_balancer, self.identity(name)
            for server in balancer.servers if balancer is not None else ():
                if self.servers.pop(f"{identity}|{server.address}", None) is not None:
                    self.dropped.append(f"{identity}|{server.address}")

    def drop_unused(self, leads: Mapping[str, str]) -> None:
        """Leave out services to which nothing leads any more, or to which only a router led that could not be built."""
        before, ahead = self.before, list(self.services)
        if before is not None and self.todo is not None:
            ahead = [name for name in self.services if name not in before.services]
            ahead += (before.leads[name] for name in self.todo["router"] if name in before.leads)
            ahead += (below for name in self.todo["service"] for below in self.below(name, before.config))
        while ahead:
            name = ahead.pop()
            users = self.users.of["service"].get(name, ())
            if name in self.services and not any(
                user in (leads if kind == "router" else self.services) for kind, user in users
            ):
                ahead += self.below(name, self.config)
                self.drop([name], self.config)

    def below(self, name: str, config: Any) -> list[str]:
        """The services among which another one chooses, if it is there."""
        service = config.services.get(name)
        return [qualify(child, name) for child in service.children] if service is not None else []

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
            self.services[name] = self.build(name, self.configured[name])
        return self.services[name]

    def build(self, name: str, config: Any) -> Service:
        """Build a service."""
        raise NotImplementedError

    def balancer(
        self, name: str, config: Any, sticky: TcpSticky | None, tls: Mapping[str, ServerTls] | None = None
    ) -> LoadBalancer:
        """A service that chooses among servers, with what all layers have. `tls`: by address, of those that use it."""
        identity = self.identity(name)
        keys, weights = [s.address for s in config.sited], [max(s.weight, 0) for s in config.sited]
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
