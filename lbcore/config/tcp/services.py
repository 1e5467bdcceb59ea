"""`tcp.services`: what chooses the server of a connection. No I/O."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from lbcore.config.model import WHEN_SET, Change, Model, Object
from lbcore.config.network import is_address
from lbcore.config.numbers import INT64_MAX, Weight
from lbcore.config.units import Interval, Patience, not_above_zero


class TcpServer(Model):
    """`address`: host:port, or (extension) unix:/path. `tls`: by the settings of the serversTransport. `weight` is an
    extension."""

    meant: ClassVar[str] = "each server begins with a dash: - address: host:port"

    address: str = ""
    weight: Annotated[Weight, WHEN_SET] = 1
    tls: bool = False


class TcpHealthCheck(Model):
    """Connect, send `send` if there is any, and wait for `expect` if there is any."""

    may_be_empty: ClassVar[bool] = True

    port: Annotated[int, Field(ge=0, le=65535)] = 0
    send: str = ""
    expect: str = ""
    interval: Interval = timedelta(seconds=30)
    unhealthy_interval: Interval | None = None
    timeout: Patience = timedelta(seconds=5)
    rise: Annotated[int, Field(ge=1, le=1000), WHEN_SET] = 1
    fall: Annotated[int, Field(ge=1, le=1000), WHEN_SET] = 1
    start_down: bool = False

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        """As in Traefik, the default holds in place of what is not above 0."""
        return not_above_zero(data, "interval", "unhealthyInterval", "timeout")


class ProxyProtocol(Model):
    """The header that gives a server its client's address."""

    may_be_empty: ClassVar[bool] = True

    version: Annotated[int, Field(ge=1, le=2)] = 2


class TcpSourceIP(Model):
    """Extension: a client's connections go to the same server."""

    may_be_empty: ClassVar[bool] = True


class TcpSticky(Model):
    may_be_empty: ClassVar[bool] = True

    source_ip: TcpSourceIP | None = Field(default=None, alias="sourceIP")


class TcpLoadBalancer(Model):
    """`terminationDelay` in ms: how long a connection lives on when one side has ended; below 0: for ever."""

    servers: list[TcpServer] = []
    servers_transport: str = ""
    health_check: TcpHealthCheck | None = None
    proxy_protocol: ProxyProtocol | None = None
    termination_delay: Annotated[int, Field(ge=-INT64_MAX, le=INT64_MAX // 1_000_000)] | None = None
    sticky: TcpSticky | None = None

    @property
    def sited(self) -> list[TcpServer]:
        """The servers that are asked: those whose addresses can be read, or all if that is so of none."""
        return [server for server in self.servers if is_address(server.address)] or self.servers


class TcpWeightedService(Model):
    meant: ClassVar[str] = "each service begins with a dash: - name: NAME"

    name: str
    weight: Weight = 1


class TcpParentHealthCheck(Model):
    """Watch the children."""

    may_be_empty: ClassVar[bool] = True


class TcpWeighted(Model):
    services: list[TcpWeightedService] = []
    health_check: TcpParentHealthCheck | None = None


class TcpService(Object):
    """Exactly one way to choose."""

    load_balancer: TcpLoadBalancer | None = None
    weighted: TcpWeighted | None = None

    @property
    def children(self) -> list[str]:
        """Names of the services to which it sends connections, as written."""
        return [child.name for child in self.weighted.services] if self.weighted else []

    @property
    def members(self) -> list[str]:
        """What it chooses among: addresses of servers, or names of services, as written."""
        return [server.address for server in self.load_balancer.servers] if self.load_balancer else self.children

    @property
    def watches(self) -> bool:
        """Whether it has a health check, and so a status that a parent can watch."""
        kind = self.load_balancer or self.weighted
        return kind is not None and kind.health_check is not None
