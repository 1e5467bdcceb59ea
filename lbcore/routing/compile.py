"""Compilation of a configuration to a table: the only place where models become objects of the data plane.

Middlewares, services, own routers, TLS, layer 4 and UDP have modules `compile_...`; the routers are built here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lbcore.config import dynamic as model
from lbcore.config.claims import (
    entry_points_claimed,
    is_guarded,
    options_claimed,
    parents_claimed,
    priority_claimed,
    rule_text,
)
from lbcore.config.difference import OF_KIND, qualify, references, without
from lbcore.config.report import with_places
from lbcore.config.resolved import entry_points_of, options_name, rule_of, tls_of
from lbcore.config.rule import hosts_in
from lbcore.config.static import StaticConfig
from lbcore.config.tls import DEFAULT
from lbcore.config.validate.findings import Checked, Disabled, Findings, Todo, in_order
from lbcore.config.validate.http import check
from lbcore.config.validate.routers import spread_in_trees
from lbcore.middleware.base import Middleware
from lbcore.middleware.challenges import Challenges
from lbcore.middleware.recursion import RefuseRecursion
from lbcore.middleware.respond import Ping
from lbcore.routing.balancer import LoadBalancer
from lbcore.routing.closed import closed, closed_status
from lbcore.routing.compile_layer4 import Layer4Part
from lbcore.routing.compile_middlewares import Compilation, MiddlewareCompiler, reason_of
from lbcore.routing.compile_own import (
    API,
    NO_SERVICE,
    NO_SLOT,
    SERVED_BY_ADMIN,
    OwnRouters,
    Ranked,
    router_identity,
    router_name_in_traefik,
)
from lbcore.routing.compile_services import Before, ServiceCompiler
from lbcore.routing.compile_spans import traced
from lbcore.routing.compile_tcp import TcpCompiler, TcpPart
from lbcore.routing.compile_tls import TlsCompiler
from lbcore.routing.compile_udp import UdpCompiler
from lbcore.routing.index import RouteIndex, file_rule
from lbcore.routing.order import CLOSED, Compiled, Order, Placed, Rank
from lbcore.routing.route import Route
from lbcore.routing.server import Server
from lbcore.routing.service import Service
from lbcore.routing.tcp_route import TcpRoute, TcpRoutes
from lbcore.routing.udp_route import UdpRoute
from lbcore.state.holdings import State
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap

if TYPE_CHECKING:
    from lbcore.tls.handshake import Acceptor

ADMIN_STANDS_IN = "unix:/"  # stands for the admin server when a configuration is only checked


AT_ONCE = 500  # tables one after another of which each takes over parts of the one before, until one is made anew


# By entry point, whether it is of requests over TLS, and router: this, the status of its answers, and what it became.
Closed = dict[tuple[str, bool, str], tuple[model.Router, int, Compiled]]


@dataclass(frozen=True, slots=True)
class MadeOf:
    """What a table was compiled of: the next one takes over what is made of the same.

    routes  by entry point and router, without those below others.
    placed  by entry point, and whether it is of those over TLS: the routers in the order of trial.
    in_trees  routers below others, and those above them.
    closed  what stands in the place of routers that cannot run.
    length  tables before it that have taken over parts of each other.
    """

    static: StaticConfig
    checked: Checked
    services: Before
    routes: Mapping[str, Mapping[str, Route]]
    placed: Mapping[tuple[str, bool], Order]
    in_trees: set[str]
    closed: Closed
    length: int
    tcp: TcpPart
    udp: Layer4Part


@dataclass(frozen=True, slots=True)
class Table:
    """The routing table of one worker. Immutable.

    indexes          by entry point: the routers of requests without TLS; `encrypted_indexes`: of those over TLS.
    acceptors        by entry point with TLS: the settings of handshakes.
    options_by_host  by entry point whose hosts have different TLS options: their names by host.
    options_by_router
                     by entry point: those that all hosts of a router have, by its name, without the default ones.
    tcp              by entry point: the routers of layer 4; `ends_tls`: those made for this table that end TLS.
    udp              by entry point: the router of its datagrams.
    servers          by identity, `service@provider|url`.
    joined, left     servers that the table in force does not have, and those of it that this one does not have.
    services         by qualified name: those that routers lead to, and those below them.
    balancers        the services among these that choose among servers, without their gates.
    disabled         objects that could not be compiled.
    limits           limits of exchanges in flight by server; in force from `take_effect` on.
    middlewares      by qualified name; `places`: the routers and services in front of which each of them stands.
    made_of          what it was compiled of.
    order            rules and routes of each entry point in the order of trial, and those of TLS.
    queued           the services of which requests wait in a queue; `requeued`: those whose queue may be another one
                     than in the table in force; None: all.
    speaks_tls       whether there is TLS, to clients or to servers.

    A table of `finds_all` has no indexes: see `index`.
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
    options_by_router: Mapping[str, dict[str, str]]
    middlewares: Mapping[str, Middleware]
    places: Mapping[str, dict[str, None]]
    queued: Collection[str]
    requeued: Collection[str] | None
    speaks_tls: bool
    made_of: MadeOf
    joined: list[Server]
    left: list[Server]
    ends_tls: list[TcpRoute]

    def index(self, point: str, encrypted: bool) -> RouteIndex | None:
        """The index of an entry point's routers, those of requests over TLS or the others; None: there is none."""
        indexes, order = (
            (self.encrypted_indexes, self.encrypted_order) if encrypted else (self.indexes, self.order)
        )
        return indexes.get(point) or (RouteIndex(order[point]) if point in order else None)

    def take_effect(self) -> None:
        """Change the objects that this table shares with the previous one. Compiling has changed none of them."""
        for server, limit in self.limits:
            server.limit = limit

    def pieces(self) -> list[object]:
        """What is large in it, for `release`."""
        made_of = self.made_of
        by_point = (self.indexes, self.encrypted_indexes, self.order, self.encrypted_order, self.tcp, made_of.routes)
        whole = (self.servers, self.services, self.balancers, self.tcp_services, self.udp_services, self.middlewares)
        checked, services = made_of.checked, made_of.services
        known = (checked.users.of, checked.errors, checked.odd)
        objects = [getattr(services.http, section) for section in OF_KIND.values()]
        of_links = (checked.parents, checked.linked, checked.ways, made_of.in_trees)
        layer_4 = [*made_of.tcp.pieces(), *made_of.udp.pieces()]
        rest = (*layer_4, self.places, self.queued, services.members, *of_links, *made_of.placed.values())
        return [*(piece for each in (*by_point, *known) for piece in each.values()), *whole, *objects, *rest]


def release(pieces: list[object]) -> None:
    """Free what is in this list alone, piece by piece, in a thread: between two of them the loop has its turn."""
    while pieces:
        pieces.pop()


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

    before      the table in force, which has those `servers`: what no change concerns is taken over from it.
    servers     those of the table in force: a server whose identity stays is reused, with its state.
    ping        the middleware of `ping@internal`; it outlives tables.
    admin       URL of the server behind `api@internal` and `prometheus@internal`; empty = there is none.
    challenges  the answers to challenges of certificate authorities; they outlive tables.
    staples     OCSP responses by the fingerprint of their certificate; they outlive tables, and change.
    state       what middlewares have beyond exchanges; it outlives tables. None = nothing so far.
    finds_all   whether `disabled` also has broken services to which no router leads. Nothing is routed by such a table.

    Broken objects alone are left out. Cost: linear in the configuration, except for sorting the routers; with `before`
    it is that of what changes, and some hundred nanoseconds for each object.
    """
    found = check(dynamic, static, None if before is None else before.made_of.checked)
    challenges = challenges or Challenges()
    ping, state = ping or Ping(), state or State(region, worker)
    staples = {} if staples is None else staples
    tls = TlsCompiler(dynamic, region, found.warnings, challenges.certificates, staples)
    given = Compilation(dynamic, static, slots, region, worker, found, state)
    middlewares = MiddlewareCompiler(given)
    services = ServiceCompiler(given, servers, middlewares)
    own = OwnRouters(static, slots, found, middlewares, services, ping, admin, challenges)
    compiler = _Compiler(dynamic, static, slots, found, tls, middlewares, services, own)
    base = before if before is not None and found.todo is not None and _is_base(before, dynamic, servers) else None
    if base is not None and found.todo is not None:
        compiler.follow(base, found.todo)
    parts = (None, None) if base is None else (base.made_of.tcp, base.made_of.udp)
    tcp = TcpCompiler(dynamic, static, slots, region, worker, servers, parts[0])
    udp = UdpCompiler(dynamic, static, slots, region, worker, servers, parts[1])
    table = compiler.table(tcp, udp, routes=not finds_all)
    return replace(table, disabled=compiler.disabled_with_unused(tcp, udp)) if finds_all else table


def _is_base(before: Table, dynamic: model.DynamicConfig, servers: Mapping[str, Server]) -> bool:
    """Whether a table may take over parts of the one before."""
    made_of = before.made_of
    if made_of.services.identity != dynamic.tls.identity or made_of.length >= AT_ONCE:
        return False
    return before.servers is servers or before.servers == servers


class _AnySlot(dict[str, int]):
    """Slots of a table that routes nothing."""

    def __missing__(self, identity: str) -> int:
        return 0


def find_problems(
    dynamic: model.DynamicConfig, static: StaticConfig, before: Table | None = None
) -> tuple[list[Disabled], list[str]]:
    """The objects that `compile_table` would leave out of a merged configuration, and warnings about others.

    before  the table in force, which makes it cheap if little of the configuration is another one.
    """
    slots, servers = SlotMap(_AnySlot(), _AnySlot()), {} if before is None else before.servers
    region = Region.create(1)
    table = compile_table(
        dynamic, static, slots, region, 0, servers, None, ADMIN_STANDS_IN, finds_all=True, before=before
    )
    return table.disabled, table.warnings


def ranked(name: str, router: model.Router) -> Ranked:
    """A router with its priority: the length of its rule, if it names none."""
    return priority_claimed(router) or len(rule_text(router).encode()), name, router


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
        self.dynamic, self.http, self.static, self.slots = dynamic, dynamic.http, static, slots
        self.found, self.tls = found, tls
        self.middlewares, self.services, self.own = middlewares, services, own
        self.trees = found.trees
        self.before: Table | None = None
        self.todo: Todo | None = None
        self.routes: dict[str, dict[str, Route]] = {}
        self.placed: dict[tuple[str, bool], Order] = {}
        self.ranks_gone: list[Rank] = []  # in the table in force, of those that have to be made again
        self.in_trees: set[str] = set()  # routers below others, and those above them
        self.lost = self.lost_children()
        self.closed: Closed = {}

    def lost_children(self) -> dict[str, list[str]]:
        """By router: those that name it as one above them in a text that could not be read."""
        lost: dict[str, list[str]] = {}
        for name in self.found.routers if self.trees.children else ():
            if (router := self.http.routers.get(name)) is not None and router.texts and not router.parent_refs:
                for parent in parents_claimed(router, name, self.trees.children):
                    lost.setdefault(parent, []).append(name)
        return lost

    def follow(self, before: Table, todo: Todo) -> None:
        """Take over all of the table in force but what has to be made again."""
        made_of, gone = before.made_of, todo["router"]
        self.before, self.todo = before, todo
        in_trees = bool(made_of.in_trees)
        self.in_trees = made_of.in_trees - gone
        self.middlewares.follow(before.middlewares, before.places, todo, in_trees)
        self.services.follow(made_of.services, todo)
        assert self.found.checked is not None
        users = self.found.checked.users.of["service"]
        if all(user in gone for name in SERVED_BY_ADMIN for _, user in users.get(name, ())):
            self.services.drop(API)
        self.routes = {point: without(gone, routes) for point, routes in made_of.routes.items()}
        self.placed = dict(made_of.placed)
        routers = made_of.services.http.routers
        self.ranks_gone = [self.rank(ranked(name, routers[name])) for name in gone if name in routers]

    def accept_for_disabled(self) -> None:
        """TLS on the entry points of routers with it that cannot run: their clients get 404, and no error of TLS."""
        points = self.static.stream_points
        for name in self.found.routers.keys() & self.http.routers.keys():
            router = self.http.routers[name]
            for point in entry_points_of(router, self.static):
                if point in points and tls_of(router, point, self.static) is not None:
                    self.tls.accept(point)

    def table(self, tcp: TcpCompiler, udp: UdpCompiler, routes: bool) -> Table:
        """The table; `routes`: with the indexes to route by."""
        self.middlewares.build()
        self.middlewares.bind(self.services.finder)
        points: dict[tuple[str, str], list[str]] = {}  # errors of entry points, also by the provider of a router

        def errors_on(point: str, name: str) -> list[str]:
            key = (point, name.rpartition("@")[2])
            if key not in points:
                points[key] = self.middlewares.errors_of_entry_point(point, name)
            return points[key]

        routers: dict[tuple[str, bool], list[Ranked]] = {}
        out: dict[tuple[str, bool], list[Ranked]] = {}  # those that cannot run there
        todo = in_order(None if self.todo is None else self.todo["router"], self.http.routers)
        for name, router in todo.items():
            if name not in self.found.routers and (errors := self.middlewares.errors_of(router, name)):
                self.found.routers[name] = errors
        spread_in_trees(self.trees, self.http.routers, self.found)
        for name, router in todo.items():
            if router.parent_refs:
                continue
            wanted, runs = entry_points_of(router, self.static), name not in self.found.routers
            sound = [point for point in wanted if not errors_on(point, name)] if runs else []
            if runs and not sound:
                errors = [error for point in wanted for error in errors_on(point, name)]
                self.found.routers[name] = list(dict.fromkeys(errors))
                if not any(self.middlewares.lacks_middlewares(point, name) for point in wanted):
                    self.found.following.add(("router", name))
            for point in wanted if runs else entry_points_claimed(router, self.static):
                there = routers if point in sound else out
                for encrypted in self.kinds(point, router):
                    there.setdefault((point, encrypted), []).append(ranked(name, router))
                if sound and point not in sound:
                    text = "; ".join(errors_on(point, name))
                    self.found.warnings.append(f"router {name} is not on entry point {point}: {text}")
                    self.found.odd["router"].add(name)
        order: dict[bool, dict[str, list[Compiled]]] = {False: {}, True: {}}
        indexes: dict[bool, dict[str, RouteIndex]] = {False: {}, True: {}}
        for point in self.static.stream_points:
            all_encrypted = self.static.entry_points[point].http.tls is not None
            for encrypted in (False, True):
                entries = routers.get((point, encrypted), [])
                placed = self.place(point, encrypted, entries, out.get((point, encrypted), []))
                compiled = self.own.add(point, placed) if all_encrypted == encrypted else placed.compiled
                order[encrypted][point] = compiled
                if routes:
                    indexes[encrypted][point] = self.indexed(point, encrypted, compiled)
            if all_encrypted:
                self.tls.accept(point)
        spread_in_trees(self.trees, self.http.routers, self.found)
        self.accept_for_disabled()
        self.services.drop_unused(self.left(), self.is_led_from)
        parts = tcp.part(self.tls), udp.part()
        tcp_routes = tcp.routes(parts[0], self.tls)
        servers = {**self.services.servers, **tcp.servers, **udp.servers}
        acceptors = self.tls.acceptors()
        disabled = self.found.disabled() + tcp.disabled + udp.disabled
        said = dict.fromkeys([*self.found.warnings, *tcp.warnings, *udp.warnings])
        warnings = with_places(said, self.dynamic, self.static)
        # Those of a table in which no one speaks TLS need not be looked at again.
        plain = self.before is not None and not self.before.speaks_tls
        made: Iterable[Server] = self.services.made if plain else servers.values()
        speaks_tls = (
            bool(acceptors)
            or any(server.target is not None for server in made)
            or any(route.acceptor is not None for routes in tcp_routes.values() for route in routes.encrypted)
        )
        joined, left = self.exchanged(servers, tcp, udp)
        return Table(
            indexes[False],
            tcp_routes,
            parts[1].routes,
            servers,
            self.services.services,
            tcp.services,
            udp.services,
            self.services.balancers,
            disabled,
            warnings,
            self.services.limits,
            order[False],
            indexes[True],
            order[True],
            acceptors,
            self.tls.options_by_host(),
            self.tls.options_by_router(),
            self.middlewares.built,
            self.middlewares.places,
            self.services.queued,
            self.services.requeued,
            speaks_tls,
            self.made_of(*parts),
            joined,
            left,
            tcp.ends_tls,
        )

    def exchanged(
        self, servers: Mapping[str, Server], tcp: TcpCompiler, udp: UdpCompiler
    ) -> tuple[list[Server], list[Server]]:
        """The servers that the table in force does not have, and those of it that are not among `servers`."""
        known, touched = self.services.known, self.services.touched
        names = dict.fromkeys([*known, *servers] if touched is None else [*touched, *tcp.touched, *udp.touched])
        pairs = [(servers.get(name), known.get(name)) for name in names]
        joined = [after for after, before in pairs if after is not None and after is not before]
        return joined, [before for after, before in pairs if before is not None and after is not before]

    def left(self) -> set[str]:
        """The services to which what is made again led before."""
        if self.before is None or self.todo is None:
            return set()
        http = self.before.made_of.services.http
        return {
            name
            for kind, section in OF_KIND.items()
            for user in self.todo[kind]
            if (thing := getattr(http, section).get(user)) is not None
            for used, name in references(kind, user, thing)
            if used == "service"
        }

    def is_led_from(self, kind: str, name: str) -> bool:
        """Whether an object sends requests to the services that it refers to."""
        if kind == "router":
            return name in self.in_trees or any(name in routes for routes in self.routes.values())
        return name in (self.services.services if kind == "service" else self.middlewares.built)

    def made_of(self, tcp: TcpPart, udp: Layer4Part) -> MadeOf:
        of = self.services
        services = Before(self.http, of.own_identity, of.members, of.services, of.balancers, of.servers, of.queued)
        length = 0 if self.before is None else self.before.made_of.length + 1
        assert self.found.checked is not None
        made = self.routes, self.placed, self.in_trees, self.closed
        return MadeOf(self.static, self.found.checked, services, *made, length, tcp, udp)

    def disabled_with_unused(self, tcp: TcpCompiler, udp: UdpCompiler) -> list[Disabled]:
        """The objects that cannot run, including services to which no router leads. Does not change the table."""
        self.services.build_unused()
        return self.found.disabled() + tcp.disabled_with_unused() + udp.disabled_with_unused()

    def rank(self, entry: Ranked) -> Rank:
        """Highest priority first, then by provider and name, so that all workers and all runs agree."""
        return -entry[0], self.static.providers.rank(entry[1]), entry[1]

    def place(self, point: str, encrypted: bool, entries: list[Ranked], out: list[Ranked]) -> Order:
        """The routers of an entry point in the order of trial. Those that cannot be built are left out, or closed.

        entries  those that have to be made; the others are taken over from the table in force.
        out      those that cannot run.
        """
        out = [*out]
        placed: list[Placed] = []
        for entry in sorted(entries, key=self.rank):
            _, name, router = entry
            try:
                compiled = file_rule(rule_of(router, self.static)), self.route(point, name, router)
            except Exception as error:
                self.found.routers[name] = [reason_of(error)]
                out.append(entry)
                continue
            tls = tls_of(router, point, self.static)
            placed.append((self.rank(entry), compiled, "" if tls is None else options_name(tls, name)))
        placed += [(self.rank(entry), each, CLOSED) for entry in out if (each := self.close(point, encrypted, entry))]
        before = self.placed.get((point, encrypted))
        order = Order(placed) if self.todo is None or before is None else before.changed(self.ranks_gone, placed)
        self.placed[point, encrypted] = order
        if encrypted and any(options != CLOSED for options in order.options):
            self.tls.add_all(point, order)
        return order

    def kinds(self, point: str, router: model.Router) -> tuple[bool, ...]:
        """Whether a router takes what comes over TLS, or the rest; both if its text does not tell."""
        is_sure = router.tls is not None or not router.faults
        return (tls_of(router, point, self.static) is not None,) if is_sure else (False, True)

    def close(self, point: str, encrypted: bool, entry: Ranked) -> Compiled | None:
        """What stands in the place of a router that cannot run. None: nothing has to."""
        _, name, router = entry
        tls = tls_of(router, point, self.static) if encrypted else None
        options = options_claimed(router, name, tls, self.tls.names) if encrypted else DEFAULT
        guarded = is_guarded(name, self.http, self.trees.children)
        key = point, encrypted, name
        status = closed_status(router, self.static, guarded, options != DEFAULT)
        of, before, found = (self.before.made_of.closed if self.before is not None else {}).get(key, (None, 0, None))
        if of is not router or before != status:
            found = closed(name, router, self.static, status)
        if found is None:
            return None
        self.closed[key] = router, status, found
        if options != DEFAULT and hosts_in(found[0].rule):
            self.tls.close(point, name, found[0].rule, options, accept=tls is not None)
        else:
            self.found.warnings.append(
                f"router {name} cannot run on entry point {point}: no other router takes its requests"
            )
        return found

    def indexed(self, point: str, encrypted: bool, order: list[Compiled]) -> RouteIndex:
        """The index of routers in the order of trial: that of the table in force, if they are the same."""
        if self.before is not None:
            before, indexes = self.before.order, self.before.indexes
            if encrypted:
                before, indexes = self.before.encrypted_order, self.before.encrypted_indexes
            if point in indexes and before[point] == order:
                return indexes[point]
        return RouteIndex(order)

    def route(self, point: str, name: str, router: model.Router, outer: Route | None = None) -> Route:
        """The route of a router.

        outer  that of its parent, whose middlewares come before its own; None: it has none.
        """
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
            if router.ruled_by_default:
                steps += (RefuseRecursion(router_name_in_traefik(self.static, point, name, router)),)
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
        if self.trees.children.get(name) or outer is not None:
            self.in_trees.add(name)
        else:
            self.routes.setdefault(point, {})[name] = route
        return route

    def below(self, point: str, name: str, outer: Route) -> RouteIndex:
        """The children of a router. Those that cannot be built are left out; ValueError if all are."""
        children = dict.fromkeys([*self.trees.children[name], *self.lost.get(name, ())])
        entries = [ranked(child, self.http.routers[child]) for child in children]
        compiled: list[Compiled] = []
        runs = False
        for _, child, router in sorted(entries, key=self.rank):
            if child not in self.found.routers:
                try:
                    filed = file_rule(rule_of(router, self.static))
                    compiled.append((filed, self.route(point, child, router, outer)))
                    runs = True
                    continue
                except Exception as error:
                    self.found.routers[child] = [reason_of(error)]
            guarded = is_guarded(child, self.http, self.trees.children)
            if (place := closed(child, router, self.static, closed_status(router, self.static, guarded))) is not None:
                compiled.append(place)
        if not runs:
            raise ValueError("building child routers muxer: no child routers could be added to muxer")
        return RouteIndex(compiled)
