"""Compilation of a configuration to a table: the only place where models become objects of the data plane."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from lbcore.config import dynamic as model
from lbcore.config.middlewares.upstream import origin_of
from lbcore.config.network import is_http2, is_secure, split_url
from lbcore.config.router_tree import RouterTrees
from lbcore.config.rule import Rule, parse_rule
from lbcore.config.static import RedirectEntryPoint, StaticConfig, StaticServersTransport
from lbcore.config.tls import ServerTls
from lbcore.config.units import status_ranges
from lbcore.config.validate import (
    DEFAULT_TRANSPORT,
    Disabled,
    Faults,
    Findings,
    challenge_points,
    check,
    entry_points_of,
    options_name,
    qualify,
    redirection_port,
    rule_of,
    spread_in_trees,
    tls_of,
    trees_of,
)
from lbcore.http2.library import is_available as http2_is_available
from lbcore.middleware.base import Middleware
from lbcore.middleware.build import build
from lbcore.middleware.challenges import Challenges
from lbcore.middleware.python import PythonMiddleware
from lbcore.middleware.redirect import RedirectScheme
from lbcore.middleware.respond import Ping, Respond
from lbcore.middleware.timeout import Timeout
from lbcore.routing.balancer import Child, LoadBalancer, Weighted
from lbcore.routing.compile_targets import TargetCompiler, is_made_by
from lbcore.routing.compile_tcp import TcpCompiler, tcp_identity
from lbcore.routing.compile_tls import TlsCompiler
from lbcore.routing.compile_udp import UdpCompiler, udp_identity
from lbcore.routing.failover import Failover
from lbcore.routing.guarded import Guarded
from lbcore.routing.hash_key import HashKey
from lbcore.routing.index import RouteIndex
from lbcore.routing.matcher import Program
from lbcore.routing.mirroring import Mirror, Mirroring, MirrorPolicy
from lbcore.routing.picker import Consistent, LeastOf, Picker
from lbcore.routing.queue import WaitQueue
from lbcore.routing.ramped import Ramped
from lbcore.routing.route import Route
from lbcore.routing.server import Server
from lbcore.routing.service import Service, UpstreamPolicy
from lbcore.routing.sticky import StickyCookie
from lbcore.routing.tcp_route import TcpRoutes
from lbcore.routing.udp_route import UdpRoute
from lbcore.state.holdings import State
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap

if TYPE_CHECKING:
    from lbcore.tls.contexts import Acceptor

GO_MAX_IDLE = 2  # idle connections per server of a transport without maxIdleConnsPerHost, as in Go
NO_SERVICE = Service()  # behind routers whose middlewares answer
PING_RULE = "PathPrefix(`/ping`)"
BY_LOAD = frozenset({"p2c", "leastconn", "leasttime", "peakewma"})  # strategies that choose by exchanges in flight
BY_LATENCY = frozenset({"leasttime", "peakewma"})
METRICS_RULE = "PathPrefix(`/metrics`)"
API, DASHBOARD, METRICS = "api@internal", "dashboard@internal", "prometheus@internal"
REST, REST_RULE = "rest@internal", "PathPrefix(`/api/providers`)"
PING, NOOP, ACME_HTTP = "ping@internal", "noop@internal", "acme-http@internal"
OWN = "lbcore@internal"  # in place of a router's name: whose middlewares those of an entry point are
SERVED_BY_ADMIN = frozenset({API, DASHBOARD, METRICS, REST})
ADMIN_STANDS_IN = "unix:/"  # stands for the admin server when a configuration is only checked
NO_SLOT = 0xFFFFFFFF
CHALLENGE_RULE = "PathPrefix(`/.well-known/acme-challenge/`)"
UPSTREAM_POLICY = UpstreamPolicy(dial_timeout_ms=30_000, idle_timeout_ms=90_000, max_idle=200)
ANY_RULE = "HostRegexp(`^.+$`)"
NOT_ENCRYPTED_RULE = f"{ANY_RULE} && !HeaderRegexp(`X-Forwarded-Proto`, `(?i)^(https|wss)$`)"

Ranked = tuple[int, str, model.Router]  # priority, name
Compiled = tuple[Rule, Route]


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


class _Broken(ValueError):
    """A service that has passed the checks but cannot be built; its reason is recorded."""


def reason_of(error: Exception) -> str:
    """The reason why an object cannot be built, in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


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
) -> Table:
    """Compile a merged configuration.

    servers     those of the table in force: a server whose identity stays is reused, with its state.
    ping        the middleware of `ping@internal`; it outlives tables.
    admin       URL of the server behind `api@internal` and `prometheus@internal`; empty = there is none.
    challenges  the answers to challenges of certificate authorities; they outlive tables.
    staples     OCSP responses by the fingerprint of their certificate; they outlive tables, and change.
    state       what middlewares have beyond exchanges; it outlives tables. None = nothing so far.
    finds_all   whether `disabled` also has broken services to which no router leads.

    Broken objects alone are left out. Cost: linear in the configuration, except for sorting the routers.
    """
    found = check(dynamic, static)
    challenges = challenges or Challenges()
    ping, state = ping or Ping(), state or State(region, worker)
    staples = {} if staples is None else staples
    tls = TlsCompiler(dynamic, region, found.warnings, challenges.certificates, staples)
    compiler = _Compiler(dynamic, static, slots, region, worker, servers, found, ping, admin, challenges, state, tls)
    tcp = TcpCompiler(dynamic, static, slots, region, worker, servers)
    udp = UdpCompiler(dynamic, static, slots, region, worker, servers)
    table = compiler.table(tcp, udp)
    return replace(table, disabled=compiler.disabled_with_unused(tcp, udp)) if finds_all else table


def upstreams_of(dynamic: model.DynamicConfig) -> dict[str, str]:
    """The servers that middlewares ask by their URLs, by the identities of the services that stand for them."""
    urls = {name: middleware.upstream for name, middleware in dynamic.http.middlewares.items()}
    return {upstream_identity(name): origin_of(url) for name, url in urls.items() if url}


def calls_of(dynamic: model.DynamicConfig) -> dict[str, str]:
    """The identities by which the calls of middlewares in Python are counted, by their qualified names."""
    names = [name for name, middleware in dynamic.http.middlewares.items() if middleware.python is not None]
    return {name: f"{upstream_identity(name)}|calls" for name in names}


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


def upstream_identity(name: str) -> str:
    """The identity of the service for the server that a middleware asks by its URL, by its qualified name."""
    return f"middleware:{name}"


def router_identity(name: str) -> str:
    """The identity of a router's counters, by its qualified name."""
    return f"router:{name}"


def redirection_name(point: str, redirect: RedirectEntryPoint) -> str:
    """The name of the router that redirects an entry point to another one."""
    return f"{point}-to-{redirect.to}@internal"


def own_routers(static: StaticConfig) -> dict[str, str]:
    """lbcore's own routers that are counted, with their services; none unless `metrics.addInternals` is set."""
    if static.metrics is None or not static.metrics.add_internals:
        return {}
    redirects = {name: point.http.redirections for name, point in static.entry_points.items()}
    own = {redirection_name(name, r.entry_point): NOOP for name, r in redirects.items() if r and r.entry_point}
    return own | {name: name for name in (PING, METRICS, API, DASHBOARD, REST, ACME_HTTP)}


def ranked(name: str, router: model.Router) -> Ranked:
    """A router with its priority: the length of its rule, if it names none."""
    return router.priority or len(router.rule.encode()), name, router


def insert(ranked: list[tuple[int, Compiled]], priority: int, pair: Compiled) -> None:
    """Insert a router into others by its priority, before those of the same priority."""
    ranked.insert(sum(1 for other, _ in ranked if other > priority), (priority, pair))


def milliseconds(duration: timedelta) -> int:
    return int(duration.total_seconds() * 1000)


def ejection_of(config: model.PassiveHealthCheck) -> tuple[int, int, int]:
    """`LoadBalancer.configure`'s ejection: failures, window in ms, percent of servers that may be ejected at once."""
    return config.max_failed_attempts, milliseconds(config.failure_window), config.max_ejection_percent


def quorum_of(config: model.ParentHealthCheck) -> tuple[int, int, int]:
    """`Balancer.use`'s quorum: count, percent of the weight, recovery."""
    least, recover = config.min_healthy, int(config.recover_healthy.removesuffix("%") or 0)
    if least.endswith("%"):
        return 0, int(least[:-1]), recover
    return int(least or 0), 0, recover


def hash_key(config: model.HashOn | None) -> HashKey:
    """The key by which consistent hashing chooses."""
    if config is None:
        return HashKey()
    for source in ("header", "cookie", "query"):
        if name := getattr(config, source):
            return HashKey(source, name)
    if config.path:
        return HashKey("path")
    return HashKey("clientIP", "", config.source_ip.depth if config.source_ip else 0)


def dashboard_rule(base: str) -> str:
    """The rule of the dashboard. `base`: the API's base path, without a trailing slash."""
    return f"Path(`{base}/`) || PathPrefix(`{base}/dashboard`)"


class _Compiler:
    def __init__(
        self,
        dynamic: model.DynamicConfig,
        static: StaticConfig,
        slots: SlotMap,
        region: Region,
        worker: int,
        known: Mapping[str, Server],
        found: Findings,
        ping: Ping,
        admin: str,
        challenges: Challenges,
        state: State,
        tls: TlsCompiler,
    ) -> None:
        self.admin = admin
        self.challenges = challenges
        self.state = state
        self.http = dynamic.http
        self.own_identity = dynamic.tls.identity
        self.tls = tls
        self.calls = calls_of(dynamic)
        self.static = static
        self.slots = slots
        self.region = region
        self.worker = worker
        self.known = known
        self.targets = TargetCompiler(known)
        self.found = found
        self.ping = ping
        self.servers: dict[str, Server] = {}
        self.services: dict[str, Service] = {}
        self.balancers: dict[str, LoadBalancer] = {}
        self.middlewares: dict[str, Middleware] = {}
        self.places: dict[str, dict[str, None]] = {}
        self.limits: list[tuple[Server, int]] = []
        self.policies: dict[str, UpstreamPolicy] = {}  # by transport
        self.trees: RouterTrees = trees_of(self.http.routers)

    def table(self, tcp: TcpCompiler, udp: UdpCompiler) -> Table:
        self.build_middlewares()
        points: dict[tuple[str, str], list[str]] = {}  # errors of entry points, also by the provider of a router

        def errors_on(point: str, name: str) -> list[str]:
            key = (point, name.rpartition("@")[2])
            if key not in points:
                points[key] = self.errors_of_entry_point(point, name)
            return points[key]

        routers: dict[str, list[Ranked]] = {name: [] for name in self.static.stream_points}
        for name, router in self.http.routers.items():
            if name not in self.found.routers and (errors := self.errors_of(router, name)):
                self.found.routers[name] = errors
        spread_in_trees(self.trees, self.http.routers, self.found)
        for name, router in self.http.routers.items():
            if name in self.found.routers or router.parent_refs:
                continue
            wanted = entry_points_of(router, self.static)
            if not (sound := [point for point in wanted if not errors_on(point, name)]):
                errors = [error for point in wanted for error in errors_on(point, name)]
                self.found.routers[name] = list(dict.fromkeys(errors))
                if not any(self.lacks_middlewares(point, name) for point in wanted):
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
        servers = {**self.servers, **tcp.servers, **udp.servers}
        acceptors = self.tls.acceptors()
        disabled = self.found.disabled() + tcp.disabled + udp.disabled
        warnings = list(dict.fromkeys([*self.found.warnings, *udp.warnings]))
        order, encrypted_order = (order, encrypted_order) if self.static.explain else ({}, {})
        return Table(
            indexes,
            tcp_routes,
            udp_routes,
            servers,
            self.services,
            tcp.services,
            udp.services,
            self.balancers,
            disabled,
            warnings,
            self.limits,
            order,
            encrypted_indexes,
            encrypted_order,
            acceptors,
            self.tls.options_by_host(),
            self.middlewares,
            self.places,
        )

    def disabled_with_unused(self, tcp: TcpCompiler, udp: UdpCompiler) -> list[Disabled]:
        """The objects that cannot run, including services to which no router leads. Does not change the table."""
        self.services, self.servers = dict(self.services), dict(self.servers)
        self.balancers, self.limits = dict(self.balancers), list(self.limits)
        for name in self.http.services:
            with contextlib.suppress(_Broken):
                self.service(name)
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
        return self.indexed(self.internal(point, sound, compiled) if own else compiled)

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

    def errors_of_entry_point(self, point: str, router: str) -> list[str]:
        """The reasons why no router of a provider can run on an entry point: its middlewares are missing or broken."""
        errors = []
        own = [qualify(reference, router) for reference in self.static.entry_points[point].http.middlewares]
        for reference in self.expand(own):
            if reference not in self.http.middlewares:
                errors.append(f'middleware "{reference}" does not exist')
            errors += self.found.middlewares.get(reference, [])
        return errors

    def lacks_middlewares(self, point: str, router: str) -> bool:
        """Whether a middleware of an entry point does not exist for a router."""
        own = [qualify(reference, router) for reference in self.static.entry_points[point].http.middlewares]
        return any(reference not in self.http.middlewares for reference in self.expand(own))

    def build_middlewares(self) -> None:
        for name, config in self.http.middlewares.items():
            if name in self.found.middlewares or config.chain is not None or config.plugin is not None:
                continue
            try:
                middleware = build(name, config, self.state)
                if isinstance(middleware, PythonMiddleware):
                    middleware.count_in(self.region, self.worker, self.slots.servers[self.calls[name]])
                self.middlewares[name] = middleware
            except Exception as error:
                self.found.middlewares[name] = [*error.faults] if isinstance(error, Faults) else [reason_of(error)]
        for name, middleware in self.middlewares.items():
            try:
                middleware.bind(self.finder(name))
            except Exception as error:
                self.found.middlewares[name] = [reason_of(error)]

    def finder(self, name: str) -> Callable[[str], Service]:
        """What a middleware finds services by: their names, or no name for the server of its own URL."""
        return lambda asked: self.service(qualify(asked, name)) if asked else self.upstream(name)

    def upstream(self, name: str) -> Service:
        """The service that stands for the server which a middleware asks by its URL."""
        config, identity = self.http.middlewares[name], upstream_identity(name)
        if identity not in self.services:
            origin = origin_of(config.upstream)
            server = self.server(identity, model.Server(url=origin), tls=config.upstream_tls.server_tls())
            balancer = LoadBalancer(identity, [server], [1], self.region, self.slots.services[identity])
            balancer.configure(UPSTREAM_POLICY, False)
            self.services[identity] = balancer
        return self.services[identity]

    def errors_of(self, router: model.Router, name: str) -> list[str]:
        """Errors of middlewares that only building has shown, also of those of services, and of services they ask."""
        errors = []
        ways = [qualify(reference, name) for reference in router.middlewares]
        below, seen = [qualify(router.service, name)], set[str]()
        while ways or below:
            for reference in self.expand(ways):
                errors += self.found.middlewares.get(reference, [])
                if reference in self.http.middlewares:
                    below += [qualify(asked, reference) for asked in self.http.middlewares[reference].asks]
            ways = []
            service = below.pop() if below else ""
            if service in seen or service not in self.http.services:
                continue
            seen.add(service)
            ways = [qualify(reference, service) for reference in self.http.services[service].middlewares]
            below += [qualify(child, service) for child in self.http.services[service].children]
        return errors

    def expand(self, names: list[str]) -> list[str]:
        """Middlewares in the order in which they run, with chains expanded, and without plugins that are bypassed."""
        flat: list[str] = []
        for name in names:
            config = self.http.middlewares.get(name)
            if config is not None and config.chain is not None and name not in self.found.middlewares:
                flat += self.expand([qualify(reference, name) for reference in config.chain.middlewares])
            elif config is None or config.plugin is None or name in self.found.middlewares:
                flat.append(name)
        return flat

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
        own = self.expand(names)
        for reference in own:
            self.note_place(reference, name if outer is None else f"{outer.name} -> {name}")
        steps = (*(outer.middlewares if outer else ()), *(self.middlewares[step] for step in own))
        service = qualify(router.service, name) if router.service else ""
        target = NO_SERVICE
        if service in SERVED_BY_ADMIN:
            target = self.admin_service()
        elif service.endswith("@internal"):
            steps += (self.internal_answer(service),)
        elif service:
            target = self.service(service)
        slot = self.slots.services.get(router_identity(name), NO_SLOT)
        route = Route(name, steps, target, slot, outer).observe(*self.observed(point, service, observability))
        if self.trees.children.get(name):
            route.fork(self.below(point, name, route))
        return route

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

    def observed(self, point: str, service: str, own: model.RouterObservability) -> tuple[bool, bool, bool]:
        """`Route.observe`: whether requests are logged, counted, and answered by lbcore itself."""
        default, metrics = self.static.entry_points[point].observability, self.static.metrics
        logged = default.access_logs if own.access_logs is None else own.access_logs
        counted = default.metrics if own.metrics is None else own.metrics
        if not service.endswith("@internal"):
            return logged, counted, False
        logs = self.static.access_log
        return logged and bool(logs and logs.add_internals), counted and bool(metrics and metrics.add_internals), True

    def own_route(self, point: str, name: str, service: str, service_of: Service, *steps: Middleware) -> Route:
        """The route of one of lbcore's own routers, behind the middlewares of the entry point."""
        slot = self.slots.services.get(router_identity(name), NO_SLOT)
        before = self.expand([qualify(step, OWN) for step in self.static.entry_points[point].http.middlewares])
        steps = (*(self.middlewares[step] for step in before), *steps)
        return Route(name, steps, service_of, slot).observe(*self.observed(point, service, model.RouterObservability()))

    def admin_service(self) -> Service:
        """The service of the admin server, in the supervisor."""
        if API not in self.services:
            server = self.server(API, model.Server(url=self.admin))
            self.services[API] = LoadBalancer(API, [server], [1], self.region, self.slots.services[API])
        return self.services[API]

    def internal_answer(self, name: str) -> Middleware:
        if name == ACME_HTTP:
            return self.challenges
        return Respond(name, 418, b"") if name == NOOP else self.ping

    def internal(self, point: str, entries: list[Ranked], compiled: list[Compiled]) -> list[Compiled]:
        """Add lbcore's own routers to those of an entry point: ping, API, and its redirection."""
        settings, ping = self.static.entry_points[point], self.static.ping
        redirections = settings.http.redirections
        if errors := self.errors_of_entry_point(point, OWN):
            text = f'entryPoint "{point}": lbcore\'s own routers, and its redirection, cannot run there'
            self.found.warnings.append(f"{text}: {'; '.join(dict.fromkeys(errors))}")
            return compiled
        ranked = [(priority, pair) for (priority, _, _), pair in zip(entries, compiled, strict=True)]
        challenged = point in challenge_points(self.static)
        if challenged and settings.allow_acme_by_pass:
            insert(ranked, len(CHALLENGE_RULE), (parse_rule(CHALLENGE_RULE), self.challenge_route(point)))
        redirect = redirections.entry_point if redirections is not None else None
        port = redirection_port(redirect, self.static) if redirect is not None else None
        if redirect is not None and port is not None:
            # A request that reached a trusted proxy encrypted needs no redirection: the next router takes it.
            rule = NOT_ENCRYPTED_RULE if redirect.scheme == "https" and port == "443" else ANY_RULE
            insert(ranked, redirect.priority, (parse_rule(rule), self.redirection(point, redirect, port)))
        result = [pair for _, pair in ranked]
        own: list[tuple[str, Route]] = []
        if challenged and not settings.allow_acme_by_pass:
            own.append((CHALLENGE_RULE, self.challenge_route(point)))
        if ping is not None and not ping.manual_routing and ping.entry_point == point:
            answer = self.internal_answer(PING)
            own.append((PING_RULE, self.own_route(point, PING, PING, NO_SERVICE, answer)))
        prometheus = self.static.metrics.prometheus if self.static.metrics else None
        if self.admin and prometheus is not None and not prometheus.manual_routing and prometheus.entry_point == point:
            own.append((METRICS_RULE, self.own_route(point, METRICS, METRICS, self.admin_service())))
        api, rest = self.static.api, self.static.providers.rest
        if self.admin and rest is not None and rest.insecure and point == "traefik":
            own.append((REST_RULE, self.own_route(point, REST, REST, self.admin_service())))
        if self.admin and api is not None and api.insecure and point == "traefik":
            base = api.base_path.rstrip("/")
            own.append((f"PathPrefix(`{base}/api`)", self.own_route(point, API, API, self.admin_service())))
            if api.dashboard:
                route = self.own_route(point, DASHBOARD, DASHBOARD, self.admin_service())
                own.append((dashboard_rule(base), route))
        result[:0] = [(parse_rule(rule), route) for rule, route in own]
        return result

    def challenge_route(self, point: str) -> Route:
        """The route of http-01 challenges of certificate authorities."""
        return self.own_route(point, ACME_HTTP, ACME_HTTP, NO_SERVICE, self.challenges)

    def redirection(self, point: str, redirect: RedirectEntryPoint, port: str) -> Route:
        config = model.RedirectScheme(scheme=redirect.scheme, port=port, permanent=redirect.permanent)
        name = redirection_name(point, redirect)
        return self.own_route(point, name, NOOP, NO_SERVICE, RedirectScheme(name, config), self.internal_answer(NOOP))

    def service(self, name: str) -> Service:
        """A service that has passed the checks, built once and shared by all that refer to it."""
        if name not in self.services:
            if name in self.found.services:
                raise _Broken(self.found.services[name][0])
            try:
                self.services[name] = self.guarded(name, self.http.services[name])
            except _Broken as error:
                self.found.services[name] = [str(error)]
                raise
            except Exception as error:
                self.found.services[name] = [reason_of(error)]
                raise _Broken(self.found.services[name][0]) from error
        return self.services[name]

    def guarded(self, name: str, config: model.Service) -> Service:
        """A service, with its middlewares as a gate."""
        service = self.chooser(name, config, self.slots.services[name])
        steps: list[Middleware] = []
        if config.timeout:
            steps.append(Timeout(f"{name}:timeout", model.Timeout(after=config.timeout)))
        if not config.middlewares:
            return Guarded(name, tuple(steps), service) if steps else service
        flat = self.expand([qualify(reference, name) for reference in config.middlewares])
        for reference in flat:
            if reference not in self.middlewares:
                self.found.following.add(("service", name))
                raise ValueError(self.found.middlewares[reference][0])
            self.note_place(reference, name)
        steps += [self.middlewares[reference] for reference in flat]
        return Guarded(name, tuple(steps), service)

    def note_place(self, middleware: str, place: str) -> None:
        self.places.setdefault(middleware, {})[place] = None

    def chooser(self, name: str, config: model.Service, slot: int) -> Service:
        """The service of the configured kind."""
        if config.load_balancer is not None:
            balancer = self.load_balancer(name, config.load_balancer, slot)
            if config.load_balancer.servers and not config.load_balancer.sited:
                return Guarded(name, (Respond(name, 500, b"Internal Server Error"),), balancer)
            return balancer
        if config.weighted is not None:
            return self.weighted(name, config.weighted, slot)
        if config.highest_random_weight is not None:
            return self.weighted(name, config.highest_random_weight, slot)
        if config.failover is not None:
            return self.failover(name, config.failover, slot)
        assert config.mirroring is not None
        return self.mirroring(name, config.mirroring, slot)

    def load_balancer(self, name: str, config: model.LoadBalancer, slot: int) -> LoadBalancer:
        transport = qualify(config.servers_transport, name) if config.servers_transport else DEFAULT_TRANSPORT
        servers = [self.server(name, server, transport) for server in config.sited]
        for server, settings in zip(servers, config.sited, strict=True):
            self.limits.append((server, config.limit_of(settings)))
        queue = None
        if config.is_limited:
            limits = config.queue or model.Queue()
            queue = WaitQueue(self.region, self.worker, slot, limits.max_requests, milliseconds(limits.timeout))
        weights = [max(server.weight, 0) for server in config.sited]
        balancer = LoadBalancer(name, servers, weights, self.region, slot)
        strategy, passive = config.strategy, config.passive_health_check
        self.prepare(balancer, name, config, [server.url for server in config.sited], weights, strategy)
        if transport not in self.policies:
            self.policies[transport] = self.policy(transport)
        policy = self.policies[transport]
        bounded = config.hash_on is not None and config.hash_on.bounded_load > 0
        balancer.configure(
            policy,
            config.pass_host_header,
            counts=strategy in BY_LOAD or bounded,
            times=strategy in BY_LATENCY,
            ejection=ejection_of(passive) if passive else (0, 0, 100),
            queue=queue,
        )
        self.balancers[name] = balancer
        return balancer

    def weighted(self, name: str, config: model.Weighted | model.HighestRandomWeight, slot: int) -> Weighted:
        names = [child.name for child in config.services]
        weights = [max(child.weight, 0) for child in config.services]
        balancer = Weighted(name, [self.child(name, child) for child in names], weights, self.region, slot)
        by_hash = isinstance(config, model.HighestRandomWeight) or config.hash_on is not None
        self.prepare(balancer, name, config, names, weights, "hrw" if by_hash else "wrr")
        return balancer

    def prepare(
        self,
        balancer: LoadBalancer | Weighted,
        name: str,
        config: model.LoadBalancer | model.Weighted | model.HighestRandomWeight,
        keys: list[str],
        weights: list[int],
        strategy: str,
    ) -> None:
        """Set strategy, sessions and status of a service."""
        sticky = None if isinstance(config, model.HighestRandomWeight) else config.sticky
        cookie = None
        picker: Picker | None = None
        if sticky is not None and sticky.cookie is not None and strategy != "hrw":
            cookie = StickyCookie(sticky.cookie, name, keys)
        if sticky is not None and sticky.source_ip is not None:
            picker = Consistent(HashKey("clientIP", "", sticky.source_ip.depth), keys, weights)
        elif strategy == "hrw":
            spread = config.hash_on.bounded_load if config.hash_on else 0
            picker = Consistent(hash_key(config.hash_on), keys, weights, spread)
        elif strategy != "wrr":
            picker = LeastOf(strategy)
            if not isinstance(config, model.HighestRandomWeight) and config.slow_start is not None:
                picker = Ramped(picker)
        watched = config.health_check
        balancer.use(picker, cookie, watched is not None, quorum_of(watched) if watched else (0, 0, 0))

    def failover(self, name: str, config: model.Failover, slot: int) -> Failover:
        main, fallback = self.child(name, config.service), self.child(name, config.fallback)
        watches, errors = config.health_check is not None, config.errors
        if errors is None:
            return Failover(name, main, fallback, self.region, slot, watches)
        ranges = status_ranges(errors.status)
        return Failover(name, main, fallback, self.region, slot, watches, ranges, errors.max_request_body_bytes)

    def mirroring(self, name: str, config: model.Mirroring, slot: int) -> Mirroring:
        policy = MirrorPolicy(
            config.mirror_body,
            config.max_body_size,
            milliseconds(config.timeout),
            config.max_concurrent,
            config.max_buffered_bytes,
            list(config.headers.items()),
            config.methods,
        )
        mirrors = [Mirror(self.child(name, mirror.name), mirror.percent, policy) for mirror in config.mirrors]
        return Mirroring(name, self.child(name, config.service), mirrors, policy, self.region, slot)

    def child(self, parent: str, name: str) -> Child:
        identity = f"{parent}|{name}"
        slot = self.slots.servers[identity]
        return Child(identity, name, self.region, self.worker, slot, self.service(qualify(name, parent)))

    def server(
        self,
        service: str,
        config: model.Server,
        transport: str = DEFAULT_TRANSPORT,
        tls: ServerTls | None = None,
    ) -> Server:
        """A server, the one in force if all settings of its connections are the same, because it keeps these.

        tls  settings for https:// in place of those of the transport.
        """
        identity = f"{service}|{config.url}"
        if identity not in self.servers:
            known = self.known.get(identity)
            slot = self.slots.servers[identity]
            settings = self.transport(transport)
            tls = (tls or settings.server_tls(self.own_identity)) if is_secure(config.url) else None
            http2 = tls is not None and not getattr(settings, "disable_http2", False)
            if is_http2(config.url) and not http2_is_available():
                raise ValueError(f"server {config.url}: HTTP/2 needs libnghttp2; install the package pycurl or nghttp2")
            if (
                known is None
                or known.slot != slot
                or known.preserve_path != config.preserve_path
                or known.offers_http2 != http2
                or not is_made_by(known, tls)
            ):
                target = self.targets.target(tls, split_url(config.url)[0])
                place = (self.region, self.worker, slot)
                known = Server(identity, config.url, *place, config.preserve_path, target, http2)
            self.servers[identity] = known
        return self.servers[identity]

    def transport(self, name: str) -> model.ServersTransport | StaticServersTransport:
        return self.http.servers_transports.get(name) or self.static.servers_transport

    def policy(self, transport: str) -> UpstreamPolicy:
        declared = self.http.servers_transports.get(transport)
        settings = self.transport(transport)
        timeouts = settings.forwarding_timeouts
        idle = settings.max_idle_conns_per_host
        return UpstreamPolicy(
            dial_timeout_ms=milliseconds(timeouts.dial_timeout),
            response_header_timeout_ms=milliseconds(timeouts.response_header_timeout),
            idle_timeout_ms=milliseconds(timeouts.idle_conn_timeout),
            max_idle=max(0, idle) if idle or declared is None else GO_MAX_IDLE,
            read_idle_timeout_ms=milliseconds(timeouts.read_idle_timeout),
            ping_timeout_ms=milliseconds(timeouts.ping_timeout),
        )
