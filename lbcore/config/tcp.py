"""The dynamic configuration of layer 4: routers, services and middlewares of TCP connections. No I/O."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from lbcore.config.model import Model, keys
from lbcore.config.network import check_network
from lbcore.config.units import Duration


class TcpRouter(Model):
    """Rule to middlewares to service. `priority` 0: the length of the rule, -1 for the rule that takes everything."""

    unsupported: ClassVar[frozenset[str]] = keys("tls ruleSyntax")

    rule: str = ""
    entry_points: list[str] = []
    service: str = ""
    middlewares: list[str] = []
    priority: int = 0


class TcpServer(Model):
    """`address`: host:port, or (extension) unix:/path. `weight` is an extension."""

    unsupported: ClassVar[frozenset[str]] = keys("tls")

    address: str
    weight: int = 1


class TcpHealthCheck(Model):
    """Connect, send `send` if there is any, and wait for `expect` if there is any."""

    port: Annotated[int, Field(ge=0, le=65535)] = 0
    send: str = ""
    expect: str = ""
    interval: Duration = timedelta(seconds=30)
    unhealthy_interval: Duration | None = None
    timeout: Duration = timedelta(seconds=5)
    rise: Annotated[int, Field(ge=1, le=1000)] = 1
    fall: Annotated[int, Field(ge=1, le=1000)] = 1
    start_down: bool = False


class ProxyProtocol(Model):
    """The header that tells a server who its client is."""

    version: Literal["1", "2"] = "2"


class TcpSourceIP(Model):
    """Extension: a client's connections go to the same server."""


class TcpSticky(Model):
    source_ip: TcpSourceIP | None = Field(default=None, alias="sourceIP")


class TcpLoadBalancer(Model):
    """`terminationDelay` in ms: how long a connection lives on when one side has ended; below 0: for ever."""

    servers: list[TcpServer] = []
    servers_transport: str = ""
    health_check: TcpHealthCheck | None = None
    proxy_protocol: ProxyProtocol | None = None
    termination_delay: int | None = None
    sticky: TcpSticky | None = None


class TcpWeightedService(Model):
    name: str
    weight: int = 1


class TcpParentHealthCheck(Model):
    """Watch the children."""


class TcpWeighted(Model):
    services: list[TcpWeightedService] = []
    health_check: TcpParentHealthCheck | None = None


class TcpService(Model):
    """Exactly one way to choose."""

    load_balancer: TcpLoadBalancer | None = None
    weighted: TcpWeighted | None = None

    @property
    def members(self) -> list[str]:
        """What it chooses among: addresses of servers, or names of services, as written."""
        if self.load_balancer is not None:
            return [server.address for server in self.load_balancer.servers]
        return [child.name for child in self.weighted.services] if self.weighted else []

    @property
    def watches(self) -> bool:
        """Whether it has a health check, and so a status that a parent can watch."""
        kind = self.load_balancer or self.weighted
        return kind is not None and kind.health_check is not None


class TcpServersTransport(Model):
    unsupported: ClassVar[frozenset[str]] = keys("tls")

    dial_timeout: Duration = timedelta(seconds=30)
    dial_keep_alive: Duration = timedelta(seconds=15)
    termination_delay: Duration = timedelta(milliseconds=100)
    proxy_protocol: ProxyProtocol | None = None


class IPAllowList(Model):
    source_range: list[str] = []

    @field_validator("source_range")
    @classmethod
    def _networks(cls, values: list[str]) -> list[str]:
        return [check_network(value) for value in values]


class InFlightConn(Model):
    """Connections of one client at once; what is beyond is closed. Without `amount`: none, as in Traefik."""

    amount: Annotated[int, Field(ge=0)] = 0


class TcpMiddleware(Model):
    """Exactly one kind."""

    unsupported: ClassVar[frozenset[str]] = keys("ipWhiteList")

    ip_allow_list: IPAllowList | None = Field(default=None, alias="ipAllowList")
    in_flight_conn: InFlightConn | None = None

    @property
    def kinds(self) -> list[str]:
        """Attributes that are set; one in a middleware that can run."""
        return [name for name in type(self).model_fields if getattr(self, name) is not None]


class TcpConfig(Model):
    routers: dict[str, TcpRouter] = {}
    services: dict[str, TcpService] = {}
    middlewares: dict[str, TcpMiddleware] = {}
    servers_transports: dict[str, TcpServersTransport] = {}
