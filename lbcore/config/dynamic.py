"""The dynamic configuration, which changes while traffic flows: routers, services, middlewares. No I/O."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from lbcore.config.model import Model, keys
from lbcore.config.static import ForwardingTimeouts, NoTracing
from lbcore.config.tcp import TcpConfig
from lbcore.config.units import Duration

MIN_SECRET_BYTES = 16
MAX_USER_PRIORITY = (1 << 63) - 1 - 1000


def _check_share(value: str) -> str:
    number = value.removesuffix("%")
    if value and not (
        number.isascii() and number.isdigit() and 0 < int(number) <= (100 if value[-1] == "%" else 1 << 20)
    ):
        raise ValueError(f"{value!r} is neither a count above 0 nor a percentage from 1% to 100%")
    return value


def _check_secret(value: str) -> str:
    if len(value.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"a key of less than {MIN_SECRET_BYTES} bytes can be guessed")
    return value


Share = Annotated[str, AfterValidator(_check_share)]  # `3`, or `50%`
Secret = Annotated[str, AfterValidator(_check_secret)]


MaxConnections = Annotated[int, Field(ge=0, lt=1 << 31)]


class RouterObservability(Model):
    """Whether its requests are told about; None: as its entry point says."""

    unsupported: ClassVar[frozenset[str]] = keys("traceVerbosity")

    access_logs: bool | None = None
    metrics: bool | None = None
    tracing: NoTracing = None


class Router(Model):
    """Rule to middlewares to service. `priority` 0: the length of the rule."""

    unsupported: ClassVar[frozenset[str]] = keys("tls parentRefs")

    rule: str = ""
    entry_points: list[str] = []
    service: str = ""
    middlewares: list[str] = []
    priority: int = 0
    rule_syntax: Literal["", "v3"] = ""
    observability: RouterObservability = RouterObservability()

    @field_validator("priority")
    @classmethod
    def _below_internal(cls, value: int) -> int:
        if value > MAX_USER_PRIORITY:
            raise ValueError(f"{value} is above the highest priority a user may set, {MAX_USER_PRIORITY}")
        return value


class Server(Model):
    """`url`: http://host:port, or (extension) unix:/path. `weight` 0: takes no request.

    maxConnections  (extension) requests that may be under way there at once; 0: any number. Its service's, if not set.
    """

    url: str
    weight: int = 1
    preserve_path: bool = False
    max_connections: MaxConnections | None = None


class ResponseForwarding(Model):
    """Accepted for Traefik's sake: lbcore sends every byte on as soon as it comes."""

    flush_interval: Duration = timedelta(milliseconds=100)


class Signed(Model):
    """Extension: values that no client can make up. The first key signs, all are accepted."""

    keys: Annotated[list[Secret], Field(min_length=1)]


class StickyCookie(Model):
    """`name` empty: one that follows from the service's. `maxAge` in seconds, 0: until the browser closes."""

    unsupported: ClassVar[frozenset[str]] = keys("expires")

    name: str = ""
    secure: bool = False
    http_only: bool = False
    same_site: str = ""
    max_age: int = 0
    path: str = "/"
    domain: str = ""
    signed: Signed | None = None

    @field_validator("path", "domain")
    @classmethod
    def _attribute(cls, value: str) -> str:
        if any(letter < " " or letter in ";\x7f" for letter in value):
            raise ValueError("semicolons and control characters cannot stand in an attribute of a cookie")
        return value


class SourceIP(Model):
    """Extension: by the client's address. `depth` n: the nth address from the right in X-Forwarded-For."""

    depth: Annotated[int, Field(ge=0, le=100)] = 0


class Sticky(Model):
    cookie: StickyCookie | None = None
    source_ip: SourceIP | None = Field(default=None, alias="sourceIP")


class HashOn(Model):
    """Extension: what decides where strategy `hrw` sends a request. Exactly one; the client's address if none.

    boundedLoad  per cent of the average load that a member may have before its keys go to the next one; 0: no bound.
    """

    header: str = ""
    cookie: str = ""
    query: str = ""
    path: bool = False
    source_ip: SourceIP | None = Field(default=None, alias="sourceIP")
    bounded_load: Annotated[int, Field(ge=0, le=10000)] = 0

    @model_validator(mode="after")
    def _one_source(self) -> HashOn:
        if sum(map(bool, (self.header, self.cookie, self.query, self.path, self.source_ip is not None))) > 1:
            raise ValueError("set one of header, cookie, query, path and sourceIP")
        if 0 < self.bounded_load <= 100:
            raise ValueError("boundedLoad has to be above 100: some member is always above the average")
        return self


class ParentHealthCheck(Model):
    """Watch the children: up while enough of them are.

    minHealthy      (extension) how many, or how many per cent of the weight, have to be up.
    recoverHealthy  (extension) likewise, for one that is down to be up again.
    """

    min_healthy: Share = ""
    recover_healthy: Share = ""

    @model_validator(mode="after")
    def _alike(self) -> Self:
        if self.recover_healthy and self.recover_healthy.endswith("%") != self.min_healthy.endswith("%"):
            raise ValueError("minHealthy and recoverHealthy have to be both counts or both percentages")
        return self


class HealthCheck(ParentHealthCheck):
    """Ask each server every `interval`, one that is down every `unhealthyInterval`.

    rise, fall  (extension) answers in a row that change a server's status.
    expectBody  (extension) a text that the first 64 KiB of the body hold.
    startDown   (extension) a new server gets no request before its first check.
    """

    scheme: Literal["", "http"] = ""
    mode: Literal["", "http", "grpc"] = "http"
    path: str = ""
    method: str = ""
    status: int = 0
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    interval: Duration = timedelta(seconds=30)
    unhealthy_interval: Duration | None = None
    timeout: Duration = timedelta(seconds=5)
    hostname: str = ""
    follow_redirects: bool = True
    headers: dict[str, str] = {}
    rise: Annotated[int, Field(ge=1, le=1000)] = 1
    fall: Annotated[int, Field(ge=1, le=1000)] = 1
    expect_body: str = ""
    start_down: bool = False


class PassiveHealthCheck(Model):
    """Eject a server when `maxFailedAttempts` requests to it failed within `failureWindow`, for that long at first.

    maxEjectionPercent  (extension) of the servers that may be ejected at once.
    maxEjectionTime     (extension) the longest ejection: each one in a row lasts twice as long as the one before.
    """

    failure_window: Duration = timedelta(seconds=10)
    max_failed_attempts: Annotated[int, Field(ge=1)] = 1
    max_ejection_percent: Annotated[int, Field(ge=0, le=100)] = 100
    max_ejection_time: Duration = timedelta(minutes=5)


class Queue(Model):
    """Extension: where requests wait when all servers have `maxConnections` under way.

    maxRequests  that may wait at once, in all workers; 0: none may.
    timeout      of waiting; then the answer is 503.
    """

    max_requests: Annotated[int, Field(ge=0, le=1 << 20)] = 1024
    timeout: Duration = timedelta(seconds=1)

    @field_validator("timeout")
    @classmethod
    def _some(cls, value: timedelta) -> timedelta:
        if value < timedelta(milliseconds=1):
            raise ValueError("has to be 1ms or more; maxRequests: 0 lets nobody wait")
        return value


class SlowStart(Model):
    """Extension: a member that is new in a running service, or up again, gets a share that grows to its weight.

    duration          until it has all of it.
    aggression        above 1: more at first; the share is (time / duration) ** (1 / aggression).
    minWeightPercent  of its weight that it has from the start.
    """

    duration: Duration = timedelta(seconds=30)
    aggression: Annotated[float, Field(gt=0, le=100)] = 1.0
    min_weight_percent: Annotated[int, Field(ge=1, le=100)] = 10

    @field_validator("duration")
    @classmethod
    def _some(cls, value: timedelta) -> timedelta:
        if value < timedelta(milliseconds=100):
            raise ValueError("has to be 100ms or more")
        return value


class LoadBalancer(Model):
    """`maxConnections` (extension): that of every server that has none of its own."""

    servers: list[Server] = []
    strategy: str = "wrr"
    sticky: Sticky | None = None
    hash_on: HashOn | None = None
    health_check: HealthCheck | None = None
    passive_health_check: PassiveHealthCheck | None = None
    pass_host_header: bool = True
    response_forwarding: ResponseForwarding = ResponseForwarding()
    servers_transport: str = ""
    max_connections: MaxConnections = 0
    queue: Queue | None = None
    slow_start: SlowStart | None = None

    def limit_of(self, server: Server) -> int:
        """Requests that may be under way at a server; 0: any number."""
        return self.max_connections if server.max_connections is None else server.max_connections

    @property
    def is_limited(self) -> bool:
        """Whether any server has a limit."""
        return any(map(self.limit_of, self.servers))


class WeightedService(Model):
    name: str
    weight: int = 1


class Weighted(Model):
    """Extension `hashOn`: the same user always gets the same child, and a change of weights moves as few as it can."""

    services: list[WeightedService] = []
    sticky: Sticky | None = None
    hash_on: HashOn | None = None
    health_check: ParentHealthCheck | None = None
    slow_start: SlowStart | None = None


class HighestRandomWeight(Model):
    """`hashOn`: extension, instead of the client's address."""

    services: list[WeightedService] = []
    hash_on: HashOn | None = None
    health_check: ParentHealthCheck | None = None


class FailoverErrors(Model):
    """Statuses of the main service's answers for which the fallback is asked instead.

    maxRequestBodyBytes  -1: any; a longer body is refused.
    """

    status: list[str] = []
    max_request_body_bytes: int = -1


class Failover(Model):
    service: str
    fallback: str
    health_check: ParentHealthCheck | None = None
    errors: FailoverErrors | None = None


class MirrorService(Model):
    name: str
    percent: int = 0


class Mirroring(Model):
    """Copies of requests to other services, whose answers nobody waits for.

    maxBodySize    bytes of body that are copied, -1: any; a request with a longer body is not mirrored.
    headers        (extension) set on every copy.
    methods        (extension) of requests that are mirrored; empty: all.
    timeout        (extension) of one copy, from its start to the end of its answer.
    maxConcurrent  (extension) copies under way at once in a worker; what is beyond is not sent.
    maxBufferedBytes  (extension) bodies held for copies in a worker; likewise.
    """

    service: str
    mirrors: list[MirrorService] = []
    mirror_body: bool = True
    max_body_size: int = -1
    health_check: ParentHealthCheck | None = None
    headers: dict[str, str] = {}
    methods: list[str] = []
    timeout: Duration = timedelta(seconds=30)
    max_concurrent: Annotated[int, Field(ge=1)] = 256
    max_buffered_bytes: Annotated[int, Field(ge=0)] = 64 << 20


class Service(Model):
    """Exactly one way to choose; `middlewares` run before it."""

    middlewares: list[str] = []
    load_balancer: LoadBalancer | None = None
    weighted: Weighted | None = None
    highest_random_weight: HighestRandomWeight | None = None
    failover: Failover | None = None
    mirroring: Mirroring | None = None

    @property
    def kinds(self) -> list[str]:
        """Attributes that are set, of those that choose; one in a service that can run."""
        kinds = ("load_balancer", "weighted", "highest_random_weight", "failover", "mirroring")
        return [name for name in kinds if getattr(self, name) is not None]

    @property
    def children(self) -> list[str]:
        """Names of the services it sends requests to, as written."""
        names: list[str] = []
        for parent in (self.weighted, self.highest_random_weight):
            if parent is not None:
                names += [child.name for child in parent.services]
        if self.failover is not None:
            names += [self.failover.service, self.failover.fallback]
        if self.mirroring is not None:
            names += [self.mirroring.service, *(mirror.name for mirror in self.mirroring.mirrors)]
        return names

    @property
    def members(self) -> list[str]:
        """What it chooses among: URLs of servers, or names of services, as written."""
        return [server.url for server in self.load_balancer.servers] if self.load_balancer else self.children

    @property
    def watches(self) -> bool:
        """Whether it has a health check, and so a status that a parent can watch."""
        return any(getattr(getattr(self, kind), "health_check", None) is not None for kind in self.kinds)


class ServersTransport(Model):
    """How servers are spoken to. `maxIdleConnsPerHost` 0: 2, as in Traefik."""

    unsupported: ClassVar[frozenset[str]] = keys(
        "serverName insecureSkipVerify rootCAs certificates cipherSuites minVersion maxVersion disableHTTP2 "
        "peerCertURI spiffe"
    )

    max_idle_conns_per_host: Annotated[int, Field(ge=-1)] = 0
    forwarding_timeouts: ForwardingTimeouts = ForwardingTimeouts()


class AddPrefix(Model):
    prefix: str = ""


class StripPrefix(Model):
    prefixes: list[str] = []
    force_slash: bool = True

    @field_validator("force_slash")
    @classmethod
    def _forced(cls, value: bool) -> bool:
        if not value:
            raise ValueError("false is not supported by this version of lbcore: a path always begins with a slash")
        return value


class StripPrefixRegex(Model):
    regex: list[str] = []


class ReplacePath(Model):
    path: str = ""


class ReplacePathRegex(Model):
    regex: str = ""
    replacement: str = ""


class RedirectScheme(Model):
    scheme: str = ""
    port: str = ""
    permanent: bool = False


class RedirectRegex(Model):
    regex: str = ""
    replacement: str = ""
    permanent: bool = False


class Headers(Model):
    """Headers to set or, with an empty value, to delete; cross-origin answers; what browsers are told."""

    unsupported: ClassVar[frozenset[str]] = keys("sslRedirect sslTemporaryRedirect sslHost sslForceHost featurePolicy")

    custom_request_headers: dict[str, str] = {}
    custom_response_headers: dict[str, str] = {}

    access_control_allow_credentials: bool = False
    access_control_allow_headers: list[str] = []
    access_control_allow_methods: list[str] = []
    access_control_allow_origin_list: list[str] = []
    access_control_allow_origin_list_regex: list[str] = []
    access_control_expose_headers: list[str] = []
    access_control_max_age: int = 0
    add_vary_header: bool = False

    allowed_hosts: list[str] = []
    hosts_proxy_headers: list[str] = []
    ssl_proxy_headers: dict[str, str] = {}
    sts_seconds: Annotated[int, Field(ge=0)] = 0
    sts_include_subdomains: bool = False
    sts_preload: bool = False
    force_sts_header: bool = Field(default=False, alias="forceSTSHeader")
    frame_deny: bool = False
    custom_frame_options_value: str = ""
    content_type_nosniff: bool = False
    browser_xss_filter: bool = False
    custom_browser_xss_value: str = Field(default="", alias="customBrowserXSSValue")
    content_security_policy: str = ""
    content_security_policy_report_only: str = ""
    public_key: str = ""
    referrer_policy: str = ""
    permissions_policy: str = ""
    is_development: bool = False


class Chain(Model):
    middlewares: list[str] = []


class Middleware(Model):
    """Exactly one kind."""

    unsupported: ClassVar[frozenset[str]] = keys(
        "retry circuitBreaker errors inFlightReq rateLimit buffering ipAllowList ipWhiteList basicAuth "
        "digestAuth forwardAuth compress passTLSClientCert contentType encodedCharacters grpcWeb plugin"
    )

    add_prefix: AddPrefix | None = None
    strip_prefix: StripPrefix | None = None
    strip_prefix_regex: StripPrefixRegex | None = None
    replace_path: ReplacePath | None = None
    replace_path_regex: ReplacePathRegex | None = None
    redirect_scheme: RedirectScheme | None = None
    redirect_regex: RedirectRegex | None = None
    headers: Headers | None = None
    chain: Chain | None = None

    @property
    def kinds(self) -> list[str]:
        """Attributes that are set; one in a middleware that can run."""
        return [name for name in type(self).model_fields if getattr(self, name) is not None]

    @model_validator(mode="before")
    @classmethod
    def _no_empty_headers(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("headers") == {}:
            raise ValueError("headers cannot be a standalone element: it needs at least one key")
        return data


class HttpConfig(Model):
    routers: dict[str, Router] = {}
    services: dict[str, Service] = {}
    middlewares: dict[str, Middleware] = {}
    servers_transports: dict[str, ServersTransport] = {}


class DynamicConfig(Model):
    unsupported: ClassVar[frozenset[str]] = keys("udp tls")

    http: HttpConfig = HttpConfig()
    tcp: TcpConfig = TcpConfig()

    @property
    def is_empty(self) -> bool:
        """Nothing is configured at all."""
        parts = (self.http, self.tcp)
        return not any(getattr(part, kind) for part in parts for kind in type(part).model_fields)
