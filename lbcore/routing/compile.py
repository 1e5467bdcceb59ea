"""From a configuration to a table: the only place where models become what the data plane runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from lbcore.config import dynamic as model
from lbcore.config.rule import Rule, parse_rule
from lbcore.config.static import RedirectEntryPoint, StaticConfig
from lbcore.config.validate import DEFAULT_TRANSPORT, Disabled, Findings, check, entry_points_of, qualify
from lbcore.middleware.base import Middleware
from lbcore.middleware.build import build
from lbcore.middleware.redirect import RedirectScheme
from lbcore.middleware.respond import Ping, Respond
from lbcore.routing.index import RouteIndex
from lbcore.routing.route import Route
from lbcore.routing.server import Server
from lbcore.routing.service import LoadBalancer, Service, UpstreamPolicy, Weighted
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap

GO_MAX_IDLE = 2  # connections kept per server by a transport that does not say how many, as in Go
NOBODY = Service()  # behind routers that answer by themselves
PING_RULE = "PathPrefix(`/ping`)"
ANY_RULE = "HostRegexp(`^.+$`)"

Ranked = tuple[int, str, model.Router]  # priority, name
Compiled = tuple[Rule, Route]


@dataclass(frozen=True, slots=True)
class Table:
    """What one worker routes by. Immutable.

    indexes   the routers of each entry point.
    servers   by identity, `service@provider|url`.
    disabled  what could not be compiled.
    """

    indexes: Mapping[str, RouteIndex]
    servers: Mapping[str, Server]
    disabled: list[Disabled]
    warnings: list[str]


def compile_table(
    dynamic: model.DynamicConfig,
    static: StaticConfig,
    slots: SlotMap,
    region: Region,
    worker: int,
    servers: Mapping[str, Server],
    ping: Ping | None = None,
) -> Table:
    """Compile a merged configuration.

    servers  those of the table in force: one whose identity stays is taken over, with its state.
    ping     what `ping@internal` leads to; it outlives tables.

    Objects that are wrong are left out alone. Cost: linear in the configuration, but for sorting the routers.
    """
    found = check(dynamic, static)
    return _Compiler(dynamic.http, static, slots, region, worker, servers, found, ping or Ping()).table()


def find_problems(dynamic: model.DynamicConfig, static: StaticConfig) -> tuple[list[Disabled], list[str]]:
    """What `compile_table` would leave out of a merged configuration, and what is strange but runs."""
    region = Region.create(1)
    servers = {
        f"{name}|{server.url}"
        for name, service in dynamic.http.services.items()
        if service.load_balancer
        for server in service.load_balancer.servers
    }
    slots = SlotMap(dict.fromkeys(dynamic.http.services, 0), dict.fromkeys(servers, 0))
    table = compile_table(dynamic, static, slots, region, 0, {})
    return table.disabled, table.warnings


def milliseconds(duration: timedelta) -> int:
    return int(duration.total_seconds() * 1000)


class _Compiler:
    def __init__(
        self,
        http: model.HttpConfig,
        static: StaticConfig,
        slots: SlotMap,
        region: Region,
        worker: int,
        known: Mapping[str, Server],
        found: Findings,
        ping: Ping,
    ) -> None:
        self.http = http
        self.static = static
        self.slots = slots
        self.region = region
        self.worker = worker
        self.known = known
        self.found = found
        self.ping = ping
        self.servers: dict[str, Server] = {}
        self.services: dict[str, Service] = {}
        self.middlewares: dict[str, Middleware] = {}

    def table(self) -> Table:
        self.build_middlewares()
        routers: dict[str, list[Ranked]] = {name: [] for name in self.static.entry_points}
        for name, router in self.http.routers.items():
            if name in self.found.routers:
                continue
            errors = self.errors_of(router, name)
            if errors:
                self.found.routers[name] = errors
                continue
            for point in entry_points_of(router, self.static):
                routers[point].append((router.priority or len(router.rule.encode()), name, router))
        indexes = {}
        for point, entries in routers.items():
            # Highest priority first; by name where it is equal, so that every worker and every run agrees.
            entries.sort(key=lambda entry: (-entry[0], entry[1]))
            compiled = [(parse_rule(router.rule), self.route(point, name, router)) for _, name, router in entries]
            indexes[point] = RouteIndex(self.internal(point, entries, compiled))
        return Table(indexes, self.servers, self.found.disabled(), self.found.warnings)

    def build_middlewares(self) -> None:
        for name, config in self.http.middlewares.items():
            if name in self.found.middlewares or config.chain is not None:
                continue
            try:
                self.middlewares[name] = build(name, config)
            except ValueError as error:
                self.found.middlewares[name] = [str(error)]

    def errors_of(self, router: model.Router, name: str) -> list[str]:
        """Middlewares that turned out wrong only when they were built."""
        errors = []
        for reference in self.expand([qualify(reference, name) for reference in router.middlewares]):
            errors += self.found.middlewares.get(reference, [])
        return errors

    def expand(self, names: list[str]) -> list[str]:
        """Middlewares in the order in which they run, chains unfolded."""
        flat: list[str] = []
        for name in names:
            config = self.http.middlewares.get(name)
            if config is not None and config.chain is not None and name not in self.found.middlewares:
                flat += self.expand([qualify(reference, name) for reference in config.chain.middlewares])
            else:
                flat.append(name)
        return flat

    def route(self, point: str, name: str, router: model.Router) -> Route:
        steps = []
        of_entry_point = [qualify(reference, "@file") for reference in self.static.entry_points[point].http.middlewares]
        of_router = [qualify(reference, name) for reference in router.middlewares]
        for reference in self.expand(of_entry_point + of_router):
            steps.append(self.middlewares[reference])
        service = qualify(router.service, name)
        if service.endswith("@internal"):
            return Route(name, (*steps, self.internal_answer(service)), NOBODY)
        return Route(name, tuple(steps), self.service(service))

    def internal_answer(self, name: str) -> Middleware:
        return Respond(name, 418, b"") if name == "noop@internal" else self.ping

    def internal(self, point: str, entries: list[Ranked], compiled: list[Compiled]) -> list[Compiled]:
        """Add the routers of lbcore's own to those of an entry point: ping, and its redirection."""
        redirections, ping = self.static.entry_points[point].http.redirections, self.static.ping
        result = list(compiled)
        if redirections is not None and redirections.entry_point is not None:
            above = sum(1 for priority, _, _ in entries if priority > redirections.entry_point.priority)
            result.insert(above, (parse_rule(ANY_RULE), self.redirection(point, redirections.entry_point)))
        if ping is not None and not ping.manual_routing and ping.entry_point == point:
            answer = Route("ping@internal", (self.internal_answer("ping@internal"),), NOBODY)
            result.insert(0, (parse_rule(PING_RULE), answer))
        return result

    def redirection(self, point: str, redirect: RedirectEntryPoint) -> Route:
        target = self.static.entry_points.get(redirect.to)
        port = target.address.rpartition(":")[2].partition("/")[0] if target else redirect.to.lstrip(":")
        config = model.RedirectScheme(scheme=redirect.scheme, port=port, permanent=redirect.permanent)
        name = f"{point}-to-{redirect.to}@internal"
        return Route(name, (RedirectScheme(name, config),), NOBODY)

    def service(self, name: str) -> Service:
        """A service that was found right, built once and shared by all that refer to it."""
        if name not in self.services:
            config = self.http.services[name]
            slot = self.slots.services[name]
            if config.weighted is not None:
                children = config.weighted.services
                parts = [self.service(qualify(child.name, name)) for child in children]
                self.services[name] = Weighted(name, parts, [child.weight for child in children], self.region, slot)
            elif config.load_balancer is not None:
                self.services[name] = self.load_balancer(name, config.load_balancer, slot)
        return self.services[name]

    def load_balancer(self, name: str, config: model.LoadBalancer, slot: int) -> LoadBalancer:
        servers = [self.server(name, server) for server in config.servers]
        weights = [server.weight for server in config.servers]
        policy = self.policy(qualify(config.servers_transport, name) if config.servers_transport else DEFAULT_TRANSPORT)
        return LoadBalancer(name, servers, weights, self.region, slot, config.pass_host_header, policy)

    def server(self, service: str, config: model.Server) -> Server:
        identity = f"{service}|{config.url}"
        if identity not in self.servers:
            known = self.known.get(identity)
            slot = self.slots.servers[identity]
            if known is None or known.slot != slot or known.preserve_path != config.preserve_path:
                known = Server(identity, config.url, config.preserve_path, self.region, self.worker, slot)
            self.servers[identity] = known
        return self.servers[identity]

    def policy(self, transport: str) -> UpstreamPolicy:
        declared = self.http.servers_transports.get(transport)
        settings = declared or self.static.servers_transport
        timeouts = settings.forwarding_timeouts
        idle = settings.max_idle_conns_per_host
        return UpstreamPolicy(
            dial_timeout_ms=milliseconds(timeouts.dial_timeout),
            response_header_timeout_ms=milliseconds(timeouts.response_header_timeout),
            idle_timeout_ms=milliseconds(timeouts.idle_conn_timeout),
            max_idle=max(0, idle) if idle or declared is None else GO_MAX_IDLE,
        )
