"""Compilation of services of HTTP, and of the servers behind them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from lbcore.config import dynamic as model
from lbcore.config.difference import copied, qualify
from lbcore.config.middlewares.upstream import origin_of
from lbcore.config.network import is_http2, is_secure, split_url
from lbcore.config.spiffe import Identity
from lbcore.config.static import StaticServersTransport
from lbcore.config.tls import ServerTls
from lbcore.config.units import milliseconds, status_ranges
from lbcore.config.validate.findings import Todo, in_order
from lbcore.config.validate.services import DEFAULT_TRANSPORT
from lbcore.http2.library import is_available as http2_is_available
from lbcore.middleware.base import Middleware
from lbcore.middleware.respond import Respond
from lbcore.middleware.timeout import Timeout
from lbcore.routing.balancer import Child, LoadBalancer, Weighted
from lbcore.routing.compile_middlewares import Compilation, MiddlewareCompiler, reason_of, upstream_identity
from lbcore.routing.compile_spans import spans_of
from lbcore.routing.compile_targets import TargetCompiler, is_made_by
from lbcore.routing.failover import Failover
from lbcore.routing.guarded import Guarded
from lbcore.routing.hash_key import HashKey
from lbcore.routing.mirroring import Mirror, Mirroring, MirrorPolicy
from lbcore.routing.picker import Consistent, LeastOf, Picker
from lbcore.routing.queue import WaitQueue
from lbcore.routing.ramped import Ramped
from lbcore.routing.server import Server
from lbcore.routing.service import Service, UpstreamPolicy
from lbcore.routing.sticky import StickyCookie

GO_MAX_IDLE = 2  # idle connections per server of a transport without maxIdleConnsPerHost, as in Go
BY_LOAD = frozenset({"p2c", "leastconn", "leasttime", "peakewma"})  # strategies that choose by exchanges in flight
BY_LATENCY = frozenset({"leasttime", "peakewma"})
UPSTREAM_POLICY = UpstreamPolicy(dial_timeout_ms=30_000, idle_timeout_ms=90_000, max_idle=200)


class Broken(ValueError):
    """A service that has passed the checks but cannot be built; its reason is recorded."""


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


@dataclass(frozen=True, slots=True)
class Before:
    """The services of the table in force, and what they are made of. See `ServiceCompiler`."""

    http: model.HttpConfig
    identity: Identity | None
    members: Mapping[str, tuple[str, ...]]
    services: Mapping[str, Service]
    balancers: Mapping[str, LoadBalancer]
    servers: Mapping[str, Server]
    queued: Collection[str]


class ServiceCompiler:
    """Builds services that routers, other services and middlewares refer to, each once.

    services   by qualified name; `balancers`: those that choose among servers, without their gates.
    servers    by identity, `service@provider|url`: those of `known` whose settings are the same, and new ones.
    limits     limits of exchanges in flight by server.
    members    the identities of the servers of each balancer.
    queued     services with a queue; `requeued`: those made again that have one, or had one; None: all.
    """

    def __init__(self, given: Compilation, known: Mapping[str, Server], middlewares: MiddlewareCompiler) -> None:
        self.http, self.static, self.found = given.http, given.static, given.found
        self.own_identity = given.dynamic.tls.identity
        self.slots, self.region, self.worker = given.slots, given.region, given.worker
        self.known, self.middlewares = known, middlewares
        self.targets = TargetCompiler(known)
        self.servers: dict[str, Server] = {}
        self.services: dict[str, Service] = {}
        self.balancers: dict[str, LoadBalancer] = {}
        self.limits: list[tuple[Server, int]] = []
        self.policies: dict[str, UpstreamPolicy] = {}  # by transport
        self.members: dict[str, tuple[str, ...]] = {}
        self.queued: set[str] = set()
        self.requeued: set[str] | None = None
        self.made: list[Server] = []  # that were not taken over with their services
        self.touched: list[str] | None = None  # identities of servers that were not taken over, or made; None: all
        self._todo: set[str] | None = None  # that have to be built again, if anything leads to them; None: all

    def follow(self, before: Before, todo: Todo) -> None:
        """Take over those of the table in force, but what has to be made again."""
        self._todo, self.touched, self.requeued = todo["service"], [], set()
        self.services, self.servers = copied(before.services), copied(before.servers)
        self.balancers, self.members = copied(before.balancers), copied(before.members)
        self.queued = set(before.queued)
        for name in (*self._todo, *map(upstream_identity, todo["middleware"])):
            self.drop(name)

    def drop(self, name: str) -> None:
        """Do not take over a service."""
        self.services.pop(name, None)
        self.balancers.pop(name, None)
        if name in self.queued:
            self.queued.discard(name)
            if self.requeued is not None:
                self.requeued.add(name)
        for identity in self.members.pop(name, ()):
            self.servers.pop(identity, None)
            if self.touched is not None:
                self.touched.append(identity)

    def drop_unused(self, names: Collection[str], leads: Callable[[str, str], bool]) -> None:
        """Do not take over those of `names`, and of those below them, to which nothing leads any more.

        leads  whether an object (kind, name) sends requests to the services that it refers to.
        """
        assert self.found.checked is not None
        users, ahead = self.found.checked.users.of["service"], list(names)
        while ahead:
            name = ahead.pop()
            if name not in self.services or self._todo is None or name in self._todo or name not in self.http.services:
                continue
            if not any(leads(kind, user) for kind, user in users.get(name, ())):
                self.drop(name)
                ahead += [qualify(child, name) for child in self.http.services[name].children]

    def build_unused(self) -> None:
        """Build also those to which no router leads, to see what is wrong with them. No table that was made changes."""
        unused = [name for name in in_order(self._todo, self.http.services) if name not in self.services]
        if not unused:
            return
        self.services, self.servers = dict(self.services), dict(self.servers)
        self.balancers, self.limits, self.members = dict(self.balancers), list(self.limits), dict(self.members)
        self.queued = set(self.queued)
        for name in unused:
            with contextlib.suppress(Broken):
                self.service(name)

    def service(self, name: str) -> Service:
        """A service that has passed the checks, built once and shared by all that refer to it."""
        if name not in self.services:
            if name in self.found.services:
                raise Broken(self.found.services[name][0])
            try:
                self.services[name] = self.guarded(name, self.http.services[name])
            except Broken as error:
                self.found.services[name] = [str(error)]
                raise
            except Exception as error:
                self.found.services[name] = [reason_of(error)]
                raise Broken(self.found.services[name][0]) from error
        return self.services[name]

    def guarded(self, name: str, config: model.Service) -> Service:
        """A service, with its middlewares as a gate."""
        service = self.chooser(name, config, self.slots.services[name])
        steps: list[Middleware] = []
        if config.timeout:
            steps.append(Timeout(f"{name}:timeout", model.Timeout(after=config.timeout)))
        if not config.middlewares:
            return Guarded(name, tuple(steps), service) if steps else service
        unnamed = (None,) * len(steps)
        flat = self.middlewares.expand([qualify(reference, name) for reference in config.middlewares])
        for reference in flat:
            if reference not in self.middlewares.built:
                self.found.following.add(("service", name))
                raise ValueError(self.found.middlewares[reference][0])
            self.middlewares.note_place(reference, name)
        steps += [self.middlewares.built[reference] for reference in flat]
        spans = (*unnamed, *spans_of(self.http.middlewares, flat)) if self.static.tracing is not None else None
        return Guarded(name, tuple(steps), service, spans)

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
            self.queued.add(name)
            if self.requeued is not None:
                self.requeued.add(name)
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
        self.members[name] = tuple(f"{name}|{server.url}" for server in config.sited)
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
        quorum = quorum_of(watched) if watched else (0, 0, 0)
        balancer.use(picker, cookie, watched is not None, quorum, sticky is not None)

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

    def finder(self, name: str) -> Callable[[str], Service]:
        """What a middleware finds services by: their names, or no name for the server of its own URL."""
        return lambda asked: self.service(qualify(asked, name)) if asked else self.upstream(name)

    def upstream(self, name: str) -> Service:
        """The service that stands for the server which a middleware asks by its URL."""
        config, identity = self.http.middlewares[name], upstream_identity(name)
        if identity not in self.services:
            service = self.alone(identity, origin_of(config.upstream), config.upstream_tls.server_tls())
            service.configure(UPSTREAM_POLICY, False)
        return self.services[identity]

    def alone(self, identity: str, url: str, tls: ServerTls | None = None) -> LoadBalancer:
        """The service of one server that no service of the configuration has."""
        if identity not in self.services:
            server = self.server(identity, model.Server(url=url), tls=tls)
            self.services[identity] = LoadBalancer(identity, [server], [1], self.region, self.slots.services[identity])
            self.members[identity] = (f"{identity}|{url}",)
        found = self.services[identity]
        assert isinstance(found, LoadBalancer)
        return found

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
            self.made.append(known)
            if self.touched is not None:
                self.touched.append(identity)
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
