"""The dynamic configuration, which changes while traffic flows: routers, services, certificates, ... No I/O."""

from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import PrivateAttr

from lbcore.config.lines import Lines
from lbcore.config.middlewares import Middleware
from lbcore.config.middlewares.add_prefix import AddPrefix
from lbcore.config.middlewares.chain import Chain
from lbcore.config.middlewares.headers import Headers
from lbcore.config.middlewares.redirect_regex import RedirectRegex
from lbcore.config.middlewares.redirect_scheme import RedirectScheme
from lbcore.config.middlewares.replace_path import ReplacePath
from lbcore.config.middlewares.replace_path_regex import ReplacePathRegex
from lbcore.config.middlewares.strip_prefix import StripPrefix
from lbcore.config.middlewares.strip_prefix_regex import StripPrefixRegex
from lbcore.config.middlewares.timeout import Timeout
from lbcore.config.model import Model
from lbcore.config.routers import MAX_USER_PRIORITY, Router, RouterObservability
from lbcore.config.servers_transports import ServersTransport
from lbcore.config.services import Service
from lbcore.config.services.failover import Failover, FailoverErrors
from lbcore.config.services.hash_on import HashOn
from lbcore.config.services.health_check import HealthCheck, ParentHealthCheck, PassiveHealthCheck, Share
from lbcore.config.services.load_balancer import LoadBalancer, MaxConnections, ResponseForwarding, Server
from lbcore.config.services.mirroring import Mirroring, MirrorService
from lbcore.config.services.queue import Queue
from lbcore.config.services.slow_start import SlowStart
from lbcore.config.services.sticky import Secret, Signed, SourceIP, Sticky, StickyCookie
from lbcore.config.services.weighted import HighestRandomWeight, Weighted, WeightedService
from lbcore.config.tcp import TcpConfig
from lbcore.config.tls import TlsConfig
from lbcore.config.udp import UdpConfig

__all__ = [
    "MAX_USER_PRIORITY",
    "AddPrefix",
    "Chain",
    "DynamicConfig",
    "Failover",
    "FailoverErrors",
    "HashOn",
    "Headers",
    "HealthCheck",
    "HighestRandomWeight",
    "HttpConfig",
    "LoadBalancer",
    "MaxConnections",
    "Middleware",
    "MirrorService",
    "Mirroring",
    "ParentHealthCheck",
    "PassiveHealthCheck",
    "Queue",
    "RedirectRegex",
    "RedirectScheme",
    "ReplacePath",
    "ReplacePathRegex",
    "ResponseForwarding",
    "Router",
    "RouterObservability",
    "Secret",
    "Server",
    "ServersTransport",
    "Service",
    "Share",
    "Signed",
    "SlowStart",
    "SourceIP",
    "Sticky",
    "StickyCookie",
    "StripPrefix",
    "StripPrefixRegex",
    "TcpConfig",
    "Timeout",
    "TlsConfig",
    "UdpConfig",
    "Weighted",
    "WeightedService",
]


class HttpConfig(Model):
    routers: dict[str, Router] = {}
    services: dict[str, Service] = {}
    middlewares: dict[str, Middleware] = {}
    servers_transports: dict[str, ServersTransport] = {}


@dataclass(frozen=True, slots=True)
class Outside:
    """A reference to an object of another provider that counts only if this is made of the right thing.

    layer, kind, name  the object that refers.
    reference          `a-b-web@provider`.
    source             the `place` of the object that is meant: `Middleware a/b-web`.
    """

    layer: str
    kind: str
    name: str
    reference: str
    source: str


class DynamicConfig(Model):
    may_be_empty: ClassVar[bool] = True
    _lines: Lines = PrivateAttr(default_factory=Lines)
    _outside: tuple[Outside, ...] = PrivateAttr(default=())

    http: HttpConfig = HttpConfig()
    tcp: TcpConfig = TcpConfig()
    udp: UdpConfig = UdpConfig()
    tls: TlsConfig = TlsConfig()

    @property
    def lines(self) -> Lines:
        """Where its parts are written, as far as they were read from files."""
        return self._lines

    def with_lines(self, lines: Lines) -> Self:
        """The same, with where its parts are written."""
        self._lines = lines
        return self

    @property
    def outside(self) -> tuple[Outside, ...]:
        """References to objects of other providers that have to be seen to when these are known."""
        return self._outside

    def with_outside(self, outside: tuple[Outside, ...]) -> Self:
        """The same, with references that have to be seen to."""
        self._outside = outside
        return self

    @property
    def is_empty(self) -> bool:
        """Whether nothing is configured at all."""
        parts = (self.http, self.tcp, self.udp, self.tls)
        return not any(getattr(part, kind) for part in parts for kind in type(part).model_fields)
