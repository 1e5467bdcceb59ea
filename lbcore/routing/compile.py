"""Compilation of a configuration to a table: the only place where models become objects of the data plane.

What it makes is a `Table`, in `table`. Routers, middlewares, services, own routers, TLS, layer 4 and UDP have modules
`compile_...`, and are put together here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from lbcore.config import dynamic as model
from lbcore.config.difference import OF_KIND, references
from lbcore.config.report import with_places
from lbcore.config.static import StaticConfig
from lbcore.config.validate.findings import Disabled, Todo
from lbcore.config.validate.http import check
from lbcore.middleware.challenges import Challenges
from lbcore.middleware.respond import Ping
from lbcore.routing.compile_middlewares import Compilation, MiddlewareCompiler
from lbcore.routing.compile_own import API, SERVED_BY_ADMIN, OwnRouters
from lbcore.routing.compile_routers import RouterCompiler
from lbcore.routing.compile_services import Before, ServiceCompiler
from lbcore.routing.compile_tcp import TcpCompiler, TcpPart
from lbcore.routing.compile_tls import TlsCompiler
from lbcore.routing.compile_udp import UdpCompiler, UdpPart
from lbcore.routing.server import Server
from lbcore.routing.table import MadeOf, Table
from lbcore.state.holdings import State
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap

ADMIN_STANDS_IN = "unix:/"  # stands for the admin server when a configuration is only checked
AT_ONCE = 500  # tables one after another of which each takes over parts of the one before, until one is made anew


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
    give_way: Callable[[], None] = lambda: None,
) -> Table:
    """Compile a merged configuration.

    before      the table in force, which has those `servers`: what no change concerns is taken over from it.
    servers     those of the table in force: a server whose identity stays is reused, with its state.
    ping        the middleware of `ping@internal`; it outlives tables.
    admin       URL of the server behind `api@internal` and `prometheus@internal`; empty = there is none.
    challenges  the answers to challenges of certificate authorities; they outlive tables.
    staples     OCSP responses by the fingerprint of their certificate; they outlive tables, and change.
    state       what middlewares have beyond exchanges; it outlives tables. None = nothing so far.
    give_way    called between steps of which each takes up to a millisecond with 10,000 routers.
    finds_all   whether `disabled` also has broken services to which no router leads. Nothing is routed by such a table.

    Broken objects alone are left out. Cost: linear in the configuration, except for sorting the routers; with `before`
    it is that of what changes, and some hundred nanoseconds for each object.
    """
    found = check(dynamic, static, None if before is None else before.made_of.checked)
    give_way()
    challenges = challenges or Challenges()
    ping, state = ping or Ping(), state or State(region, worker)
    staples = {} if staples is None else staples
    tls = TlsCompiler(dynamic, region, found.warnings, challenges.certificates, staples)
    given = Compilation(dynamic, static, slots, region, worker, found, state, give_way)
    middlewares = MiddlewareCompiler(given)
    services = ServiceCompiler(given, servers, middlewares)
    own = OwnRouters(static, slots, found, middlewares, services, ping, admin, challenges)
    routers = RouterCompiler(given, tls, middlewares, services, own)
    compiler = _Compiler(given, tls, middlewares, services, routers)
    base = before if before is not None and found.todo is not None and _is_base(before, dynamic, servers) else None
    if base is not None and found.todo is not None:
        compiler.follow(base, found.todo)
        give_way()
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


class _Compiler:
    """Has the parts of a table built, and puts them together."""

    def __init__(
        self,
        given: Compilation,
        tls: TlsCompiler,
        middlewares: MiddlewareCompiler,
        services: ServiceCompiler,
        routers: RouterCompiler,
    ) -> None:
        self.given, self.dynamic, self.http = given, given.dynamic, given.http
        self.static, self.found = given.static, given.found
        self.tls, self.middlewares, self.services, self.routers = tls, middlewares, services, routers
        self.before: Table | None = None
        self.todo: Todo | None = None

    def follow(self, before: Table, todo: Todo) -> None:
        """Take over all of the table in force but what has to be made again."""
        made_of, gone = before.made_of, todo["router"]
        self.before, self.todo = before, todo
        self.middlewares.follow(before.middlewares, before.places, todo, bool(made_of.in_trees))
        self.services.follow(made_of.services, todo)
        assert self.found.checked is not None
        users = self.found.checked.users.of["service"]
        if all(user in gone for name in SERVED_BY_ADMIN for _, user in users.get(name, ())):
            self.services.drop(API)
        self.routers.follow(before, todo)

    def table(self, tcp: TcpCompiler, udp: UdpCompiler, routes: bool) -> Table:
        """The table; `routes`: with the indexes to route by."""
        self.middlewares.build()
        self.middlewares.bind(self.services.finder)
        self.routers.build(routes)
        self.services.drop_unused(self.left(), self.is_led_from)
        self.given.give_way()
        parts = tcp.part(self.tls), udp.part()
        tcp_routes = tcp.routes(parts[0], self.tls)
        servers = self.services.servers | tcp.servers | udp.servers
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
            indexes=self.routers.indexes[False],
            tcp=tcp_routes,
            udp=parts[1].routes,
            servers=servers,
            services=self.services.services,
            tcp_services=tcp.services,
            udp_services=udp.services,
            balancers=self.services.balancers,
            disabled=disabled,
            own_errors=self.routers.own.errors,
            warnings=warnings,
            limits=self.services.limits,
            order=self.routers.order[False],
            encrypted_indexes=self.routers.indexes[True],
            encrypted_order=self.routers.order[True],
            acceptors=acceptors,
            options_by_host=self.tls.options_by_host(),
            options_by_router=self.tls.options_by_router(),
            middlewares=self.middlewares.built,
            places=self.middlewares.places,
            queued=self.services.queued,
            requeued=self.services.requeued,
            speaks_tls=speaks_tls,
            made_of=self.made_of(*parts),
            joined=joined,
            left=left,
            ends_tls=tcp.ends_tls,
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
            return self.routers.leads(name)
        return name in (self.services.services if kind == "service" else self.middlewares.built)

    def made_of(self, tcp: TcpPart, udp: UdpPart) -> MadeOf:
        of = self.services
        services = Before(self.http, of.own_identity, of.members, of.services, of.balancers, of.servers, of.queued)
        length = 0 if self.before is None else self.before.made_of.length + 1
        assert self.found.checked is not None
        of_routers = self.routers.routes, self.routers.placed, self.routers.in_trees, self.routers.closed
        return MadeOf(self.static, self.found.checked, services, *of_routers, length, tcp, udp)

    def disabled_with_unused(self, tcp: TcpCompiler, udp: UdpCompiler) -> list[Disabled]:
        """The objects that cannot run, including services to which no router leads. Does not change the table."""
        self.services.build_unused()
        return self.found.disabled() + tcp.disabled_with_unused() + udp.disabled_with_unused()
