"""Compilation of the layer 4 part of a configuration."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import timedelta
from operator import itemgetter

from lbcore.config import tcp as model
from lbcore.config.difference import qualify
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.resolved import options_name, tcp_entry_points_of, tcp_rule_of
from lbcore.config.rule import RuleError, is_catch_all, matchers_in
from lbcore.config.static import StaticConfig
from lbcore.config.tcp.servers_transports import TcpDialing
from lbcore.config.tls import ServerTls
from lbcore.config.validate.layer4 import Sound
from lbcore.config.validate.tcp import check_tcp
from lbcore.config.validate.tls import options_errors
from lbcore.http.networks import Networks
from lbcore.routing.balancer import LoadBalancer
from lbcore.routing.compile_layer4 import Layer4Compiler, Layer4Part
from lbcore.routing.compile_own import NO_SERVICE
from lbcore.routing.compile_tls import TlsCompiler
from lbcore.routing.matcher import Program
from lbcore.routing.server import Server
from lbcore.routing.service import Service, UpstreamPolicy
from lbcore.routing.tcp_route import ConnectionLimit, TcpPolicy, TcpRoute, TcpRoutes
from lbcore.state.keyed import KeyedTable
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap

GO_KEEP_ALIVE_S = 15  # default of connections to servers
FOR_EVER = -1  # as a `terminationDelay` in ms: a side that has not ended may go on


def tcp_identity(name: str) -> str:
    """The identity of a layer 4 service, by its qualified name, which a service of layer 7 may have, too."""
    return f"tcp:{name}"


def tcp_router_identity(name: str) -> str:
    """The identity of the counters of a layer 4 router, by its qualified name."""
    return f"tcpRouter:{name}"


def priority_of(router: model.TcpRouter) -> int:
    """The configured priority, else the length of the rule in bytes; the rule that matches everything comes last."""
    return router.priority or (-1 if is_catch_all(router.rule) else len(router.rule.encode()))


class TcpCompiler(Layer4Compiler):
    """Builds routers, and the services to which they lead, each once."""

    layer = "tcp"

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
        self.tcp, self.tls, self.static = dynamic.tcp, dynamic.tls, static
        self.own_identity = dynamic.tls.identity
        self.connections = KeyedTable(region, worker)
        self.ends_tls: list[TcpRoute] = []
        # What ends TLS has the certificates of its own table.
        stays = before is not None and before.is_of(dynamic.tcp, dynamic.tls) and not any(
            route.acceptor is not None for routes in before.routes.values() for route in routes
        )
        sound = Sound() if stays or before is None else Sound.of(before.config, before.disabled, dynamic.tcp)
        disabled = [] if stays else check_tcp(dynamic.tcp, static, dynamic.tls, sound)
        super().__init__(dynamic.tcp.services, disabled, slots, region, worker, known)
        if stays and before is not None:
            self.take(before)
        elif before is not None:
            self.follow(before, sound.transports)

    def part(self, tls: TlsCompiler) -> Layer4Part:
        """The routers of each entry point that has any, in the order of trial, and what they lead to.

        tls  the compiler, to which all routers of layer 7 were added.
        """
        part = self.taken or self.made(tls)
        for point, routes in part.routes.items():
            if any(route.encrypted for route in routes):
                tls.accept(point)  # what no router of layer 4 takes is HTTP
        return part

    def routes(self, part: Layer4Part, tls: TlsCompiler) -> dict[str, TcpRoutes]:
        """The routers of `part`, by entry point, with what goes to layer 7 in their place."""
        return {
            point: TcpRoutes(routes, tls.hosts(point), tls.takes_any(point), tls.challenges)
            for point, routes in part.routes.items()
        }

    def made(self, tls: TlsCompiler) -> Layer4Part:
        """All that has changed made anew, with what stays of the table in force."""
        wrong = {entry.name for entry in self.disabled if entry.kind == "tcpRouter"}
        ranked: dict[str, list[tuple[tuple[int, int, str], TcpRoute]]] = {}
        before = self.routes_before()
        for name, router in self.tcp.routers.items():
            if name in wrong and not self.is_closed(name, router):
                continue
            try:
                if name in wrong:
                    route = self.closed(name, router, tls)
                else:
                    service, kept = self.of(router, name), before.get(name)
                    stays = kept is not None and kept.service is service and self.is_as_before(name, router)
                    route = kept if kept is not None and stays else self.route(name, router, service, tls)
            except Exception as error:
                self.disabled.append(self.disable("Router", name, error))
                continue
            for point in tcp_entry_points_of(router, self.static):
                key = (-priority_of(router), self.static.providers.rank(name), name)
                ranked.setdefault(point, []).append((key, route))
        order = {point: sorted(entries, key=itemgetter(0)) for point, entries in ranked.items()}
        routes = {point: [route for _, route in entries] for point, entries in order.items()}
        return Layer4Part(self.tcp, self.tls, routes, self.services, self.servers, self.disabled, [])

    def routes_before(self) -> dict[str, TcpRoute]:
        """The routes of the table in force, but those that end TLS: they have the certificates of their own table."""
        routes = self.base.routes.values() if self.base is not None else ()
        return {route.name: route for of_point in routes for route in of_point if route.acceptor is None}

    def is_as_before(self, name: str, router: model.TcpRouter) -> bool:
        """Whether a router and its middlewares are those of the table in force."""
        if self.base is None or self.base.config.routers.get(name) is not router:
            return False
        of, known = self.tcp.middlewares, self.base.config.middlewares
        return all(of[key] is known.get(key) for key in (qualify(each, name) for each in router.middlewares))

    def is_closed(self, name: str, router: model.TcpRouter) -> bool:
        """Whether a router that cannot run keeps its place: its TLS options, which may ask for certificates of clients,
        cannot be used, and other routers must not take its connections by theirs."""
        if router.tls is None or router.tls.passthrough or not options_errors(self.tls, options_name(router.tls, name)):
            return False
        try:
            return bool(matchers_in(tcp_rule_of(router, self.static)))
        except RuleError:
            return False

    def closed(self, name: str, router: model.TcpRouter, tls: TlsCompiler) -> TcpRoute:
        """What stands in the place of a router whose TLS options cannot be used: it refuses all handshakes."""
        assert router.tls is not None
        acceptor, takes_all = tls.acceptor_of_layer_4(options_name(router.tls, name)), is_catch_all(router.rule)
        rule = Program(tcp_rule_of(router, self.static))
        route = TcpRoute(name, rule, [], NO_SERVICE, encrypted=True, acceptor=acceptor, takes_all=takes_all)
        self.ends_tls.append(route)
        tls.warn(f"tcp router {name} cannot run: there is no handshake for what its rule takes")
        return route

    def route(self, name: str, router: model.TcpRouter, service: Service, tls: TlsCompiler) -> TcpRoute:
        """The route of a router."""
        rule = Program(tcp_rule_of(router, self.static))
        allowed, limits = self.allowed(name, router), self.limits(name, router)
        acceptor = None
        if router.tls is not None and not router.tls.passthrough:
            acceptor = tls.acceptor_of_layer_4(options_name(router.tls, name))
        takes_all = is_catch_all(router.rule)
        route = TcpRoute(name, rule, allowed, service, limits, router.tls is not None, acceptor, takes_all)
        if acceptor is not None:
            self.ends_tls.append(route)
        if (slot := self.slots.services.get(tcp_router_identity(name))) is not None:
            route.count_in(self.region, self.worker, slot)
        return route

    def of(self, router: model.TcpRouter, name: str) -> Service:
        return self.service(qualify(router.service, name))

    def allowed(self, name: str, router: model.TcpRouter) -> list[Networks]:
        references = dict.fromkeys(qualify(reference, name) for reference in router.middlewares)
        configs = [self.tcp.middlewares[reference].ip_allow_list for reference in references]
        return [Networks(config.source_range) for config in configs if config is not None]

    def limits(self, name: str, router: model.TcpRouter) -> list[ConnectionLimit]:
        """Each router counts on its own, as in Traefik, and by its name, so that a reload keeps the counts."""
        limits = []
        for reference in dict.fromkeys(qualify(reference, name) for reference in router.middlewares):
            config = self.tcp.middlewares[reference].in_flight_conn
            if config is not None:
                digest = hashlib.blake2b(f"{name}|{reference}".encode(), digest_size=8).digest()
                limits.append(ConnectionLimit(self.connections, int.from_bytes(digest, "big"), config.amount))
        return limits

    def build(self, name: str, config: model.TcpService) -> Service:
        if config.load_balancer is not None:
            return self.load_balancer(name, config.load_balancer)
        assert config.weighted is not None
        return self.weighted(name, config.weighted)

    def load_balancer(self, name: str, config: model.TcpLoadBalancer) -> LoadBalancer:
        transport = self.tcp.servers_transports.get(qualify(config.servers_transport, name))
        default = self.static.tcp_servers_transport
        tls = default.server_tls(self.own_identity)
        if transport is not None:
            tls = transport.tls.server_tls(self.own_identity) if transport.tls is not None else ServerTls()
        balancer = self.balancer(name, config, config.sticky, {s.address: tls for s in config.servers if s.tls})
        dialing: TcpDialing = default if transport is None else transport
        dial_ms = int(dialing.dial_timeout.total_seconds() * 1000)
        keep_alive_s = math.ceil(dialing.dial_keep_alive.total_seconds()) or GO_KEEP_ALIVE_S
        delay_ms, proxy_protocol = FOR_EVER, config.proxy_protocol
        if config.servers_transport:  # then the service's own settings do not count, as in Traefik
            proxy_protocol = None if transport is None else transport.proxy_protocol
            if dialing.termination_delay >= timedelta(0):
                delay_ms = int(dialing.termination_delay.total_seconds() * 1000)
        elif config.termination_delay is not None:
            delay_ms = config.termination_delay
        version = int(proxy_protocol.version) if proxy_protocol is not None else 0
        balancer.configure(UpstreamPolicy(dial_timeout_ms=dial_ms))
        balancer.configure_tcp(TcpPolicy(delay_ms, version, keep_alive_s))
        return balancer
