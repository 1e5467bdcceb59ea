"""Compilation of the part of a configuration that is for UDP."""

from __future__ import annotations

from collections.abc import Mapping

from lbcore.config.difference import qualify, without
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.resolved import udp_entry_points_of
from lbcore.config.static import StaticConfig
from lbcore.config.udp import UdpFailover, UdpService
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


class UdpCompiler(Layer4Compiler):
    """Builds routers, and the services to which they lead, each once. `warnings`: about routers that run."""

    layer = "udp"

    def __init__(
        self,
        dynamic: DynamicConfig,
        static: StaticConfig,
        slots: SlotMap,
        region: Region,
        worker: int,
        known: Mapping[str, Server],
        before: Layer4Part | None = None,
    ) -> None:
        self.udp, self.tls, self.static = dynamic.udp, dynamic.tls, static
        stays = before is not None and before.is_of(dynamic.udp, dynamic.tls)
        out = [] if before is None else [entry.name for entry in before.disabled]
        sound = {} if before is None else without(out, before.config.services)
        disabled, self.warnings = ([], []) if stays else check_udp(dynamic.udp, static, sound)
        super().__init__(dynamic.udp.services, disabled, slots, region, worker, known)
        if stays and before is not None:
            self.take(before)
            self.warnings = before.warnings
        elif before is not None:
            self.follow(before)

    def part(self) -> Layer4Part:
        """The router of each entry point that has any, and what it leads to."""
        return self.taken or Layer4Part(
            self.udp, self.tls, self.routes(), self.services, self.servers, self.disabled, self.warnings
        )

    def routes(self) -> dict[str, UdpRoute]:
        """The router of each entry point that has any: of several the last one by name, as in Traefik."""
        wrong = {entry.name for entry in self.disabled if entry.kind == "udpRouter"}
        found: dict[str, UdpRoute] = {}
        for name in sorted(self.udp.routers):
            router = self.udp.routers[name]
            if name in wrong:
                continue
            try:
                route = UdpRoute(name, self.service(qualify(router.service, name)))
            except Exception as error:
                self.disabled.append(self.disable("Router", name, error))
                continue
            found |= dict.fromkeys(udp_entry_points_of(router, self.static), route)
        return found

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
