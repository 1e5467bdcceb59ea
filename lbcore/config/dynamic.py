"""The dynamic configuration, which changes while traffic flows: routers, services, middlewares. No I/O."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from lbcore.config.model import Model, keys
from lbcore.config.static import ForwardingTimeouts
from lbcore.config.units import Duration

MAX_USER_PRIORITY = (1 << 63) - 1 - 1000


class Router(Model):
    """Rule to middlewares to service. `priority` 0: the length of the rule."""

    unsupported: ClassVar[frozenset[str]] = keys("tls observability parentRefs")

    rule: str = ""
    entry_points: list[str] = []
    service: str = ""
    middlewares: list[str] = []
    priority: int = 0
    rule_syntax: Literal["", "v3"] = ""

    @field_validator("priority")
    @classmethod
    def _below_internal(cls, value: int) -> int:
        if value > MAX_USER_PRIORITY:
            raise ValueError(f"{value} is above the highest priority a user may set, {MAX_USER_PRIORITY}")
        return value


class Server(Model):
    """`url`: http://host:port, or (extension) unix:/path. `weight` 0: takes no request."""

    url: str
    weight: int = 1
    preserve_path: bool = False


class ResponseForwarding(Model):
    """Accepted for Traefik's sake: lbcore sends every byte on as soon as it comes."""

    flush_interval: Duration = timedelta(milliseconds=100)


class LoadBalancer(Model):
    unsupported: ClassVar[frozenset[str]] = keys("sticky healthCheck passiveHealthCheck")

    servers: list[Server] = []
    strategy: str = "wrr"
    pass_host_header: bool = True
    response_forwarding: ResponseForwarding = ResponseForwarding()
    servers_transport: str = ""


class WeightedService(Model):
    name: str
    weight: int = 1


class Weighted(Model):
    unsupported: ClassVar[frozenset[str]] = keys("sticky healthCheck")

    services: list[WeightedService] = []


class Service(Model):
    """Exactly one way to choose."""

    unsupported: ClassVar[frozenset[str]] = keys("mirroring failover highestRandomWeight middlewares")

    load_balancer: LoadBalancer | None = None
    weighted: Weighted | None = None


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
    unsupported: ClassVar[frozenset[str]] = keys("tcp udp tls")

    http: HttpConfig = HttpConfig()

    @property
    def is_empty(self) -> bool:
        """Nothing is configured at all."""
        return not (self.http.routers or self.http.services or self.http.middlewares or self.http.servers_transports)
