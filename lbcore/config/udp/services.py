"""`udp.services`: what chooses the server of a session. No I/O."""

from typing import Annotated, ClassVar

from lbcore.config.model import WHEN_SET, Model, Object
from lbcore.config.network import is_address
from lbcore.config.numbers import Weight
from lbcore.config.tcp import TcpHealthCheck, TcpParentHealthCheck, TcpSticky


class UdpServer(Model):
    """`address`: host:port. `weight` is an extension."""

    meant: ClassVar[str] = "each server begins with a dash: - address: host:port"

    address: str = ""
    weight: Annotated[Weight, WHEN_SET] = 1


class UdpHealthCheck(TcpHealthCheck):
    """Extension: send `send`, which may be empty. With `expect`, an answer has to begin with that; without, a server is
    down if it refuses the datagram, and otherwise up after its first answer, or after `timeout` without one."""


class UdpLoadBalancer(Model):
    """`healthCheck` and `sticky` are extensions."""

    servers: list[UdpServer] = []
    health_check: Annotated[UdpHealthCheck | None, WHEN_SET] = None
    sticky: Annotated[TcpSticky | None, WHEN_SET] = None

    @property
    def sited(self) -> list[UdpServer]:
        """The servers that are asked: those whose addresses can be read, or all if that is so of none."""
        return [server for server in self.servers if is_address(server.address, is_udp=True)] or self.servers


class UdpWeightedService(Model):
    meant: ClassVar[str] = "each service begins with a dash: - name: NAME"

    name: str
    weight: Weight = 1


class UdpWeighted(Model):
    """`healthCheck`, to watch the children, is an extension."""

    services: list[UdpWeightedService] = []
    health_check: Annotated[TcpParentHealthCheck | None, WHEN_SET] = None


class UdpFailover(Model):
    """Extension: `fallback` gets the sessions for which no server of `service` can be reached."""

    service: str
    fallback: str
    health_check: TcpParentHealthCheck | None = None


class UdpService(Object):
    """Exactly one way to choose."""

    load_balancer: UdpLoadBalancer | None = None
    weighted: UdpWeighted | None = None
    failover: Annotated[UdpFailover | None, WHEN_SET] = None

    @property
    def kinds(self) -> list[str]:
        """Attributes that are set; one in a service that can run."""
        return [name for name in ("load_balancer", "weighted", "failover") if getattr(self, name) is not None]

    @property
    def children(self) -> list[str]:
        """Names of the services to which it sends sessions, as written."""
        if self.weighted is not None:
            return [child.name for child in self.weighted.services]
        return [self.failover.service, self.failover.fallback] if self.failover else []

    @property
    def members(self) -> list[str]:
        """What it chooses among: addresses of servers, or names of services, as written."""
        return [server.address for server in self.load_balancer.servers] if self.load_balancer else self.children

    @property
    def watches(self) -> bool:
        """Whether it has a health check, and so a status that a parent can watch."""
        kind = self.load_balancer or self.weighted or self.failover
        return kind is not None and kind.health_check is not None
