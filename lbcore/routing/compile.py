"""Compilation of a configuration to a table: the only place where models become objects of the data plane.

Middlewares, services, own routers, TLS, layer 4 and UDP have modules `compile_...`; the routers are built here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lbcore.config import dynamic as model
from lbcore.config.router_tree import RouterTrees
from lbcore.config.rule import Rule
from lbcore.config.static import StaticConfig
from lbcore.config.validate import (
    Checked,
    Disabled,
    Findings,
    check,
    entry_points_of,
    options_name,
    qualify,
    rule_of,
    spread_in_trees,
    tls_of,
    trees_of,
)
from lbcore.middleware.base import Middleware
from lbcore.middleware.challenges import Challenges
from lbcore.middleware.respond import Ping
from lbcore.routing.balancer import LoadBalancer
from lbcore.routing.compile_middlewares import MiddlewareCompiler, calls_of, reason_of, upstreams_of
from lbcore.routing.compile_own import (
    API,
    NO_SERVICE,
    NO_SLOT,
    SERVED_BY_ADMIN,
    Compiled,
    OwnRouters,
    Ranked,
    router_identity,
)
from lbcore.routing.compile_services import Before, ServiceCompiler
from lbcore.routing.compile_spans import traced
from lbcore.routing.compile_tcp import TcpCompiler, tcp_identity
from lbcore.routing.compile_tls import TlsCompiler
from lbcore.routing.compile_udp import UdpCompiler, udp_identity
from lbcore.routing.index import RouteIndex
from lbcore.routing.matcher import Program
from lbcore.routing.route import Route
from lbcore.routing.server import Server
from lbcore.routing.service import Service
from lbcore.routing.tcp_route import TcpRoutes
from lbcore.routing.udp_route import UdpRoute
from lbcore.state.holdings import State
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap

if TYPE_CHECKING:
    from lbcore.tls.contexts import Acceptor

ADMIN_STANDS_IN = "unix:/"  # stands for the admin server when a configuration is only checked


@dataclass(frozen=True, slots=True)
class MadeOf:
    """What a table was compiled of: the next one takes over what is made of the same.

    routes  by entry point and router, without those below others.
    """

    static: StaticConfig
    checked: Checked | None
    services: Before
    routes: Mapping[str, Mapping[str, Route]]


@dataclass(frozen=True, slots=True)
class Table:
    """The routing table of one worker. Immutable.

    indexes          by entry point: the routers of requests without TLS; `encrypted_indexes`: of those over TLS.
    acceptors        by entry point with TLS: the settings of handshakes.
    options_by_host  by entry point whose hosts have different TLS options: their names by host.
    tcp              by entry point: the routers of layer 4.
    udp              by entry point: the router of its datagrams.
    servers          by identity, `service@provider|url`.
    services         by qualified name: those that routers lead to, and those below them.
    balancers        the services among these that choose among servers, without their gates.
    disabled         objects that could not be compiled.
    limits           limits of exchanges in flight by server; in force from `take_effect` on.
    middlewares      by qualified name; `places`: the routers and services in front of which each of them stands.
    made_of          what it was compiled of.
    order            rules and routes of each entry point in the order of trial, and those of TLS; empty unless
                     `explain` is configured.
    """

    indexes: Mapping[str, RouteIndex]
    tcp: Mapping[str, TcpRoutes]
    udp: Mapping[str, UdpRoute]
    servers: Mapping[str, Server]
    services: Mapping[str, Service]
    tcp_services: Mapping[str, Service]
    udp_services: Mapping[str, Service]
    balancers: dict[str, LoadBalancer]
    disabled: list[Disabled]
    warnings: list[str]
    limits: list[tuple[Server, int]]
    order: Mapping[str, list[Compiled]]
    encrypted_indexes: Mapping[str, RouteIndex]
    encrypted_order: Mapping[str, list[Compiled]]
    acceptors: Mapping[str, Acceptor]
    options_by_host: Mapping[str, dict[bytes, str]]
    middlewares: Mapping[str, Middleware]
    places: Mapping[str, Collection[str]]
    made_of: MadeOf

    @property
    def speaks_tls(self) -> bool:
        """Whether there is TLS, to clients or to servers."""
        return (
            bool(self.acceptors)
            or any(server.target is not None for server in self.servers.values())
            or any(route.acceptor is not None for routes in self.tcp.values() for route in routes.encrypted)
        )

    def take_effect(self) -> None:
        """Change the objects that this table shares with the previous one. Compiling has changed none of them."""
        for server, limit in self.limits:
            server.limit = limit


def compile_table(
    dynamic: model.DynamicConfig,
    static: StaticConfig,
    slots: SlotMap,
    region: Region,
    worker: int,
    servers: Mapping[str, Server],
    ping: Ping | None = None,
    admin: str = "",
    *,
    challenges: Challenges | None = None,
    staples: dict[str, bytes] | None = None,
    finds_all: bool = False,
    state: State | None = None,
    before: Table | None = None,
) -> Table:
    """Compile a merged configuration.

    before      the table in force, which has those `servers`: routes and services that stay the same are taken over.
    servers     those of the table in force: a server whose identity stays is reused, with its state.
    ping        the middleware of `ping@internal`; it outlives tables.
    admin       URL of the server behind `api@internal` and `prometheus@internal`; empty = there is none.
    challenges  the answers to challenges of certificate authorities; they outlive tables.
    staples     OCSP responses by the fingerprint of their certificate; they outlive tables, and change.
    state       what middlewares have beyond exchanges; it outlives tables. None = nothing so far.
    finds_all   whether `disabled` also has broken services to which no router leads.

    Broken objects alone are left out. Cost: linear in the configuration, except for sorting the routers.
    """
    found = check(dynamic, static, None if before is None else before.made_of.checked)
    challenges = challenges or Challenges()
    ping, state = ping or Ping(), state or State(region, worker)
    staples = {} if staples is None else staples
    tls = TlsCompiler(dynamic, region, found.warnings, challenges.certificates, staples)
    middlewares = MiddlewareCompiler(dynamic, static, slots, region, worker, found, state)
    services = ServiceCompiler(dynamic, static, slots, region, worker, found, servers, middlewares)
    own = OwnRouters(static, slots, found, middlewares, services, ping, admin, challenges)
    compiler = _Compiler(dynamic, static, slots, found, tls, middlewares, services, own)
    if before is not None and before.made_of.static is static and before.servers == servers:
        compiler.before = before.made_of
        services.follow(before.made_of.services)
    tcp = TcpCompiler(dynamic, static, slots, region, worker, servers)
    udp = UdpCompiler(dynamic, static, slots, region, worker, servers)
    table = compiler.table(tcp, udp)
    return replace(table, disabled=compiler.disabled_with_unused(tcp, udp)) if finds_all else table


def find_problems(dynamic: model.DynamicConfig, static: StaticConfig) -> tuple[list[Disabled], list[str]]:
    """The objects that `compile_table` would leave out of a merged configuration, and warnings about others."""
    region = Region.create(1)
    members = [f"{name}|{member}" for name, service in dynamic.http.services.items() for member in service.members]
    members.append(f"{API}|{ADMIN_STANDS_IN}")
    services = [*dynamic.http.services, API]
    for identity, origin in upstreams_of(dynamic).items():
        services.append(identity)
        members.append(f"{identity}|{origin}")
    members += calls_of(dynamic).values()
    for name, tcp in dynamic.tcp.services.items():
        services.append(tcp_identity(name))
        members += [f"{tcp_identity(name)}|{member}" for member in tcp.members]
    for name, udp in dynamic.udp.services.items():
        services.append(udp_identity(name))
        members += [f"{udp_identity(name)}|{member}" for member in udp.members]
    slots = SlotMap(dict.fromkeys(services, 0), dict.fromkeys(members, 0))
    table = compile_table(dynamic, static, slots, region, 0, {}, None, ADMIN_STANDS_IN, finds_all=True)
    return table.disabled, table.warnings


def ranked(name: str, router: model.Router) -> Ranked:
    """A router with its priority: the length of its rule, if it names none."""
    return router.priority or len(router.rule.encode()), name, router


class _Compiler:
    """Builds the routers of HTTP, and the table."""

    def __init__(
        self,
        dynamic: model.DynamicConfig,
        static: StaticConfig,
        slots: SlotMap,
        found: Findings,
        tls: TlsCompiler,
        middlewares: MiddlewareCompiler,
        services: ServiceCompiler,
        own: OwnRouters,
    ) -> None:
        self.http, self.static, self.slots = dynamic.http, static, slots
        self.found, self.tls = found, tls
        self.middlewares, self.services, self.own = middlewares, services, own
        self.trees: RouterTrees = trees_of(self.http.routers)
        self.before: MadeOf | None = None
        self.routes: dict[str, dict[str, Route]] = {}

    def table(self, tcp: TcpCompiler, udp: UdpCompiler) -> Table:
        self.middlewares.build()
        self.middlewares.bind(self.services.finder)
        points: dict[tuple[str, str], list[str]] = {}  # errors of entry points, also by the provider of a router

        def errors_on(point: str, name: str) -> list[str]:
            key = (point, name.rpartition("@")[2])
            if key not in points:
                points[key] = self.middlewares.errors_of_entry_point(point, name)
            return points[key]

        routers: dict[str, list[Ranked]] = {name: [] for name in self.static.stream_points}
        for name, router in self.http.routers.items():
            if name not in self.found.routers and (errors := self.middlewares.errors_of(router, name)):
                self.found.routers[name] = errors
        spread_in_trees(self.trees, self.http.routers, self.found)
        for name, router in self.http.routers.items():
            if name in self.found.routers or router.parent_refs:
                continue
            wanted = entry_points_of(router, self.static)
            if not (sound := [point for point in wanted if not errors_on(point, name)]):
                errors = [error for point in wanted for error in errors_on(point, name)]
                self.found.routers[name] = list(dict.fromkeys(errors))
                if not any(self.middlewares.lacks_middlewares(point, name) for point in wanted):
                    self.found.following.add(("router", name))
                continue
            for point in wanted:
                if point in sound:
                    routers[point].append(ranked(name, router))
                else:
                    text = "; ".join(errors_on(point, name))
                    self.found.warnings.append(f"router {name} is not on entry point {point}: {text}")
        indexes, order, encrypted_indexes, encrypted_order = {}, {}, {}, {}
        for point, entries in routers.items():
            self.sort(entries)
            encrypted = [entry for entry in entries if tls_of(entry[2], point, self.static) is not None]
            plain = [entry for entry in entries if tls_of(entry[2], point, self.static) is None]
            all_encrypted = self.static.entry_points[point].http.tls is not None
            order[point], indexes[point] = self.index(point, plain, not all_encrypted)
            encrypted_order[point], encrypted_indexes[point] = self.index(point, encrypted, all_encrypted)
            if all_encrypted:
                self.tls.accept(point)
        spread_in_trees(self.trees, self.http.routers, self.found)
        tcp_routes = tcp.routes(self.tls)
        udp_routes = udp.routes()
        servers = {**self.services.servers, **tcp.servers, **udp.servers}
        acceptors = self.tls.acceptors()
        disabled = self.found.disabled() + tcp.disabled + udp.disabled
        warnings = list(dict.fromkeys([*self.found.warnings, *udp.warnings]))
        order, encrypted_order = (order, encrypted_order) if self.static.explain else ({}, {})
        return Table(
            indexes,
            tcp_routes,
            udp_routes,
            servers,
            self.services.services,
            tcp.services,
            udp.services,
            self.services.balancers,
            disabled,
            warnings,
            self.services.limits,
            order,
            encrypted_indexes,
            encrypted_order,
            acceptors,
            self.tls.options_by_host(),
            self.middlewares.built,
            self.middlewares.places,
            self.made_of(),
        )

    def made_of(self) -> MadeOf:
        of = self.services
        slots = self.slots.services
        services = Before(self.http, of.own_identity, slots, of.members, of.services, of.balancers)
        return MadeOf(self.static, self.found.checked, services, self.routes)

    def disabled_with_unused(self, tcp: TcpCompiler, udp: UdpCompiler) -> list[Disabled]:
        """The objects that cannot run, including services to which no router leads. Does not change the table."""
        self.services.build_unused()
        return self.found.disabled() + tcp.disabled_with_unused() + udp.disabled_with_unused()

    def sort(self, entries: list[Ranked]) -> None:
        """Highest priority first, then by provider and name, so that all workers and all runs agree."""
        rank = self.static.providers.rank
        entries.sort(key=lambda entry: (-entry[0], rank(entry[1]), entry[1]))

    def index(self, point: str, entries: list[Ranked], own: bool) -> tuple[list[Compiled], RouteIndex]:
        """The routers of an entry point in the order of trial, with lbcore's own if `own`, and their index.

        Routers that cannot be built are left out.
        """
        sound: list[Ranked] = []
        compiled: list[Compiled] = []
        for entry in entries:
            _, name, router = entry
            try:
                compiled.append((rule_of(router, self.static), self.route(point, name, router)))
                sound.append(entry)
            except Exception as error:
                self.found.routers[name] = [reason_of(error)]
                continue
            if (tls := tls_of(router, point, self.static)) is not None:
                self.tls.add(point, name, compiled[-1][0], options_name(tls, name))
        return self.indexed(self.own.add(point, sound, compiled) if own else compiled)

    def indexed(self, order: list[Compiled]) -> tuple[list[Compiled], RouteIndex]:
        """Routers in the order of trial, and their index. Those whose rules cannot be compiled are left out."""
        try:
            return order, RouteIndex(order)
        except Exception:
            kept = [pair for pair in order if self.can_match(*pair)]
            return kept, RouteIndex(kept)

    def can_match(self, rule: Rule, route: Route) -> bool:
        """Whether the program of a rule can be built; if not, its router is disabled."""
        try:
            Program(rule)
        except Exception as error:
            self.found.routers[route.router] = [reason_of(error)]
            return False
        return True

    def route(self, point: str, name: str, router: model.Router, outer: Route | None = None) -> Route:
        """The route of a router.

        outer  that of its parent, whose middlewares come before its own; None: it has none.
        """
        if outer is None and (known := self.known_route(point, name, router)) is not None:
            return known
        names = [qualify(reference, name) for reference in router.middlewares]
        observability = router.observability
        if outer is None:
            names[:0] = [qualify(reference, name) for reference in self.static.entry_points[point].http.middlewares]
        else:
            observability = self.http.routers[outer.root].observability
        own = self.middlewares.expand(names)
        for reference in own:
            self.middlewares.note_place(reference, name if outer is None else f"{outer.name} -> {name}")
        steps = (*(outer.middlewares if outer else ()), *(self.middlewares.built[step] for step in own))
        service = qualify(router.service, name) if router.service else ""
        target = NO_SERVICE
        if service in SERVED_BY_ADMIN:
            target = self.own.admin_service()
            steps += self.own.narrowed(service)
        elif service.endswith("@internal"):
            steps += (self.own.answer(service),)
        elif service:
            target = self.services.service(service)
        slot = self.slots.services.get(router_identity(name), NO_SLOT)
        route = Route(name, steps, target, slot, outer).count_in(self.services.region, self.services.worker)
        about = traced(
            self.static,
            point,
            observability,
            name=name,
            service=service,
            rule=router.rule,
            configs=self.http.middlewares,
            middlewares=own,
        )
        observed = self.own.observed(point, service, observability)
        route.observe(*observed, *about)
        if self.trees.children.get(name):
            route.fork(self.below(point, name, route))
        elif outer is None:
            self.routes.setdefault(point, {})[name] = route
        return route

    def known_route(self, point: str, name: str, router: model.Router) -> Route | None:
        """The route of the table in force, if it would be the same: one without middlewares, to the same service."""
        before, services = self.before, self.services
        if before is None or before.services.http.routers.get(name) is not router or router.middlewares:
            return None
        known = before.routes.get(point, {}).get(name)
        if known is None or known.middlewares or self.static.entry_points[point].http.middlewares or self.trees.order:
            return None
        service = qualify(router.service, name)
        if service not in services.same or services.service(service) is not known.service:
            return None
        if known.slot != self.slots.services.get(router_identity(name), NO_SLOT):
            return None
        self.routes.setdefault(point, {})[name] = known
        return known

    def below(self, point: str, name: str, outer: Route) -> RouteIndex:
        """The children of a router. Those that cannot be built are left out; ValueError if all are."""
        children = [child for child in self.trees.children[name] if child not in self.found.routers]
        entries = [ranked(child, self.http.routers[child]) for child in children]
        self.sort(entries)
        compiled: list[Compiled] = []
        for _, child, router in entries:
            try:
                compiled.append((rule_of(router, self.static), self.route(point, child, router, outer)))
            except Exception as error:
                self.found.routers[child] = [reason_of(error)]
        order, index = self.indexed(compiled)
        if not order:
            raise ValueError("building child routers muxer: no child routers could be added to muxer")
        return index
