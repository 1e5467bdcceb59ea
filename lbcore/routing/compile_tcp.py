"""Compilation of the layer 4 part of a configuration."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from operator import itemgetter

from lbcore.config import tcp as model
from lbcore.config.claims import (
    options_claimed,
    priority_claimed,
    rule_text,
    tcp_entry_points_claimed,
    tcp_rule_claimed,
)
from lbcore.config.difference import qualify, without
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.resolved import options_name, tcp_entry_points_of, tcp_rule_of
from lbcore.config.rule import is_catch_all, matchers_in
from lbcore.config.static import StaticConfig
from lbcore.config.tcp.servers_transports import TcpDialing
from lbcore.config.tls import DEFAULT, ServerTls
from lbcore.config.units import milliseconds
from lbcore.config.validate.findings import in_order
from lbcore.config.validate.tcp import check_tcp
from lbcore.config.validate.tls import options_errors
from lbcore.http.networks import Networks
from lbcore.routing.balancer import LoadBalancer
from lbcore.routing.compile_layer4 import Layer4Compiler, Layer4Part
from lbcore.routing.compile_own import NO_SERVICE
from lbcore.routing.compile_tls import TlsCompiler
from lbcore.routing.matcher import Program
from lbcore.routing.order import Rank
from lbcore.routing.server import Server
from lbcore.routing.service import Service, UpstreamPolicy
from lbcore.routing.tcp_route import ConnectionLimit, TcpPolicy, TcpRoute, TcpRoutes
from lbcore.state.counters import denial_key
from lbcore.state.holdings import Denials
from lbcore.state.keyed import KeyedTable
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap

GO_KEEP_ALIVE_S = 15  # default of connections to servers
RankedRoute = tuple[Rank, TcpRoute]
FOR_EVER = -1  # as a `terminationDelay` in ms: a side that has not ended may go on


def tcp_identity(name: str) -> str:
    """The identity of a layer 4 service, by its qualified name, which a service of layer 7 may have, too."""
    return f"tcp:{name}"


def tcp_router_identity(name: str) -> str:
    """The identity of the counters of a layer 4 router, by its qualified name."""
    return f"tcpRouter:{name}"


def priority_of(router: model.TcpRouter) -> int:
    """The configured priority, else the length of the rule in bytes; the rule that matches everything comes last."""
    text = rule_text(router)
    return priority_claimed(router) or (-1 if is_catch_all(text) else len(text.encode()))


@dataclass(frozen=True, slots=True)
class TcpPart(Layer4Part):
    """That of TCP.

    ranked    by entry point: routes in the order of trial, with what it follows from.
    ends_tls  whether TLS ends at some of them.
    """

    layer = "tcp"

    ranked: Mapping[str, list[RankedRoute]]
    ends_tls: bool

    def pieces(self) -> list[object]:
        return [*super(TcpPart, self).pieces(), *self.ranked.values()]


class TcpCompiler(Layer4Compiler):
    """Builds routers, and the services to which they lead, each once. `warnings`: about routers that cannot run."""

    layer = "tcp"
    before: TcpPart | None

    def __init__(
        self,
        dynamic: DynamicConfig,
        static: StaticConfig,
        slots: SlotMap,
        region: Region,
        worker: int,
        known: Mapping[str, Server],
        before: TcpPart | None = None,
    ) -> None:
        self.tcp, self.tls, self.static = dynamic.tcp, dynamic.tls, static
        self.own_identity = dynamic.tls.identity
        self.connections = KeyedTable(region, worker)
        self.ends_tls: list[TcpRoute] = []
        # What ends TLS has the certificates of its own table.
        stays = before is not None and before.is_of(dynamic.tcp, dynamic.tls) and not before.ends_tls
        super().__init__(dynamic.tcp, before, stays, slots, region, worker, known)
        self.stays = before if stays else None
        self.warnings: list[str] = []
        if self.stays is not None:
            self.warnings = self.stays.warnings
        else:
            self.disabled = check_tcp(dynamic.tcp, static, dynamic.tls, self.todo)

    def part(self, tls: TlsCompiler) -> TcpPart:
        """The routers of each entry point that has any, in the order of trial, and what they lead to.

        tls  the compiler, to which all routers of layer 7 were added.
        """
        part = self.stays or self.made(tls)
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

    def made(self, tls: TlsCompiler) -> TcpPart:
        """What has to be made again, with what stays of the table in force."""
        wrong = {entry.name for entry in self.disabled if entry.kind == "tcpRouter"}
        leads, ranked = self.kept(tls)
        for name, router in in_order(None if self.todo is None else self.todo["router"], self.tcp.routers).items():
            try:
                if name in wrong:
                    made = self.closed(name, router, tls)
                else:
                    made = [self.route(name, router, self.of(router, name), tls)]
                    leads[name] = qualify(router.service, name)
            except Exception as error:
                self.disabled.append(self.disable("Router", name, error))
                continue
            points = (tcp_entry_points_claimed if name in wrong else tcp_entry_points_of)(router, self.static)
            key = (-priority_of(router), self.static.providers.rank(name), name)
            for point in points:
                ranked.setdefault(point, []).extend((key, each) for each in made)
        self.drop_unused(leads)
        order = {point: sorted(entries, key=itemgetter(0)) for point, entries in ranked.items() if entries}
        routes = {point: [route for _, route in entries] for point, entries in order.items()}
        parts = self.tcp, self.tls, routes, self.services, self.servers, self.disabled, self.warnings
        return TcpPart(*parts, self.users, leads, order, bool(self.ends_tls))

    def kept(self, tls: TlsCompiler) -> tuple[dict[str, str], dict[str, list[RankedRoute]]]:
        """What of the table in force need not be made again: the services to which routers lead, and the routes."""
        if self.before is None or self.todo is None:
            return {}, {}
        gone = self.todo["router"]
        ranked = {
            point: [entry for entry in entries if entry[0][2] not in gone]
            for point, entries in self.before.ranked.items()
        }
        if self.before.ends_tls:  # with the certificates of this table
            again: dict[str, TcpRoute] = {}
            for entries in ranked.values():
                for at, (rank, route) in enumerate(entries):
                    if route.acceptor is not None:
                        if route.name not in again:
                            again[route.name] = route.ending_at(tls.acceptor_of_layer_4(route.acceptor.options.name))
                        entries[at] = rank, again[route.name]
            self.ends_tls += again.values()
        return without(gone, self.before.leads), ranked

    def closed(self, name: str, router: model.TcpRouter, tls: TlsCompiler) -> list[TcpRoute]:
        """What stands in the place of a router that cannot run, so that others do not take its connections: they may
        have no middlewares that refuse clients, or other TLS options. Empty: nothing has to."""
        rule, own = tcp_rule_claimed(router, self.static), router.tls
        if rule is None or not matchers_in(rule):
            return []
        takes_all, passes = is_catch_all(rule_text(router)), own is not None and own.passthrough
        options = DEFAULT if passes else options_claimed(router, name, own, self.tls.options)
        if own is not None and options is not None and options_errors(self.tls, options) and not passes:
            acceptor = tls.acceptor_of_layer_4(options)
            route = TcpRoute(name, Program(rule), [], NO_SERVICE, None, True, acceptor, takes_all)
            self.ends_tls.append(route)
            self.warnings.append(f"tcp router {name} cannot run: there is no handshake for what its rule takes")
            return [route]
        may_guard = router.faults or router.middlewares or self.is_faulty(qualify(router.service, name))
        if not may_guard and options == DEFAULT:
            return []
        kinds = (own is not None,) if own is not None or not router.faults else (False, True)
        self.warnings.append(f"tcp router {name} cannot run: no other router takes its connections")
        nobody = [Networks([])]
        return [
            TcpRoute(name, Program(rule), nobody, NO_SERVICE, None, encrypted, None, takes_all) for encrypted in kinds
        ]

    def is_faulty(self, service: str) -> bool:
        """Whether the text of a service could not be read."""
        return service in self.tcp.services and bool(self.tcp.services[service].faults)

    def route(self, name: str, router: model.TcpRouter, service: Service, tls: TlsCompiler) -> TcpRoute:
        """The route of a router."""
        rule = Program(tcp_rule_of(router, self.static))
        kinds = self.middlewares_by_kind(name, router)
        allowed, limits = self.allowed(kinds), self.limits(name, kinds)
        acceptor = None
        if router.tls is not None and not router.tls.passthrough:
            acceptor = tls.acceptor_of_layer_4(options_name(router.tls, name))
        takes_all = is_catch_all(router.rule)
        route = TcpRoute(name, rule, allowed, service, limits, router.tls is not None, acceptor, takes_all)
        if acceptor is not None:
            self.ends_tls.append(route)
        keys = [denial_key("tcp", reference) for references in kinds for reference in references]
        route.count_denials([Denials(self.connections, key) for key in keys])
        if (slot := self.slots.services.get(tcp_router_identity(name))) is not None:
            route.count_in(self.region, self.worker, slot)
        return route

    def of(self, router: model.TcpRouter, name: str) -> Service:
        return self.service(qualify(router.service, name))

    def middlewares_by_kind(self, name: str, router: model.TcpRouter) -> tuple[list[str], list[str]]:
        """The middlewares of a router that look at the client's address, and those that count its connections."""
        configs = self.tcp.middlewares
        references = list(dict.fromkeys(qualify(reference, name) for reference in router.middlewares))
        return (
            [reference for reference in references if configs[reference].ip_allow_list is not None],
            [reference for reference in references if configs[reference].in_flight_conn is not None],
        )

    def allowed(self, kinds: tuple[list[str], list[str]]) -> list[Networks]:
        configs = (self.tcp.middlewares[reference].ip_allow_list for reference in kinds[0])
        return [Networks(config.source_range) for config in configs if config is not None]

    def limits(self, name: str, kinds: tuple[list[str], list[str]]) -> list[ConnectionLimit]:
        """Each router counts on its own, as in Traefik, and by its name, so that a reload keeps the counts."""
        limits = []
        for reference in kinds[1]:
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
        dial_ms = milliseconds(dialing.dial_timeout)
        keep_alive_s = math.ceil(dialing.dial_keep_alive.total_seconds()) or GO_KEEP_ALIVE_S
        delay_ms, proxy_protocol = FOR_EVER, config.proxy_protocol
        if config.servers_transport:  # then the service's own settings do not count, as in Traefik
            proxy_protocol = None if transport is None else transport.proxy_protocol
            if dialing.termination_delay >= timedelta(0):
                delay_ms = int(dialing.termination_delay.total_seconds() * 1000)
        elif config.termination_delay is not None:
            delay_ms = config.termination_delay
        version = proxy_protocol.version if proxy_protocol is not None else 0
        balancer.configure(UpstreamPolicy(dial_timeout_ms=dial_ms))
        balancer.configure_tcp(TcpPolicy(delay_ms, version, keep_alive_s))
        return balancer
