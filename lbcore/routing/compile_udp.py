"""Compilation of the part of a configuration that is for UDP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lbcore.config.difference import qualify, without
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.resolved import udp_entry_points_of
from lbcore.config.static import StaticConfig
from lbcore.config.udp import UdpFailover, UdpService
from lbcore.config.validate.findings import in_order
from lbcore.config.validate.udp import check_udp
from lbcore.routing.compile_layer4 import Layer4Compiler, Layer4Part
from lbcore.routing.failover import Failover
from lbcore.routing.server import Server
from lbcore.routing.service import Service
from lbcore.routing.udp_route import UdpRoute
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap


def udp_identity(name: str) -> str:
    """The identity of a service of UDP, by its qualified name."""
    return f"udp:{name}"


@dataclass(frozen=True, slots=True)
class UdpPart(Layer4Part):
    """That of UDP.

    by_name  by entry point: the routers that have it, by name.
    strange  warnings about routers that run, by their names.
    """

    layer = "udp"

    by_name: Mapping[str, Mapping[str, UdpRoute]]
    strange: Mapping[str, list[str]]

    def pieces(self) -> list[object]:
        return [*super(UdpPart, self).pieces(), *self.by_name.values(), self.strange]


class UdpCompiler(Layer4Compiler):
    """Builds routers, and the services to which they lead, each once. `warnings`: about routers that run."""

    layer = "udp"
    before: UdpPart | None

    def __init__(
        self,
        dynamic: DynamicConfig,
        static: StaticConfig,
        slots: SlotMap,
        region: Region,
        worker: int,
        known: Mapping[str, Server],
        before: UdpPart | None = None,
    ) -> None:
        self.udp, self.tls, self.static = dynamic.udp, dynamic.tls, static
        stays = before is not None and before.is_of(dynamic.udp, dynamic.tls)
        super().__init__(dynamic.udp, before, stays, slots, region, worker, known)
        self.stays = before if stays else None
        self.strange: dict[str, list[str]] = {}
        if self.stays is None:
            self.disabled, self.strange = check_udp(dynamic.udp, static, self.todo)
            if self.before is not None and self.todo is not None:
                self.strange |= without(self.todo["router"], self.before.strange)

    @property
    def warnings(self) -> list[str]:
        if self.stays is not None:
            return self.stays.warnings
        return [text for name in sorted(self.strange) for text in self.strange[name]]

    def part(self) -> UdpPart:
        """The router of each entry point that has any, and what it leads to."""
        return self.stays or self.made()

    def made(self) -> UdpPart:
        """What has to be made again, with what stays of the table in force."""
        wrong = {entry.name for entry in self.disabled if entry.kind == "udpRouter"}
        leads: dict[str, str] = {}
        found: dict[str, dict[str, UdpRoute]] = {}
        if self.before is not None and self.todo is not None:
            leads = without(self.todo["router"], self.before.leads)
            found = {point: without(self.todo["router"], routes) for point, routes in self.before.by_name.items()}
        for name, router in in_order(None if self.todo is None else self.todo["router"], self.udp.routers).items():
            if name in wrong:
                continue
            try:
                route = UdpRoute(name, self.service(qualify(router.service, name)))
            except Exception as error:
                self.disabled.append(self.disable("Router", name, error))
                continue
            leads[name] = qualify(router.service, name)
            for point in udp_entry_points_of(router, self.static):
                found.setdefault(point, {})[name] = route
        self.drop_unused(leads)
        # Of several the last one by name, as in Traefik.
        routes = {point: of_point[max(of_point)] for point, of_point in found.items() if of_point}
        parts = self.udp, self.tls, routes, self.services, self.servers, self.disabled, self.warnings
        return UdpPart(*parts, self.users, leads, found, self.strange)

    def build(self, name: str, config: UdpService) -> Service:
        if config.load_balancer is not None:
            return self.balancer(name, config.load_balancer, config.load_balancer.sticky)
        if config.weighted is not None:
            return self.weighted(name, config.weighted)
        assert config.failover is not None
        return self.failover(name, config.failover)

    def failover(self, name: str, config: UdpFailover) -> Failover:
        main, fallback = self.child(name, config.service), self.child(name, config.fallback)
        slot = self.slots.services[self.identity(name)]
        return Failover(name, main, fallback, self.region, slot, config.health_check is not None)
