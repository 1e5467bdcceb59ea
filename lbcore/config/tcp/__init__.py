"""The dynamic configuration of layer 4: routers, services and middlewares of TCP connections. No I/O."""

from lbcore.config.model import Model
from lbcore.config.tcp.middlewares import InFlightConn, IPAllowList, TcpMiddleware
from lbcore.config.tcp.routers import TcpRouter
from lbcore.config.tcp.servers_transports import TcpServersTransport
from lbcore.config.tcp.services import (
    ProxyProtocol,
    TcpHealthCheck,
    TcpLoadBalancer,
    TcpParentHealthCheck,
    TcpServer,
    TcpService,
    TcpSourceIP,
    TcpSticky,
    TcpWeighted,
    TcpWeightedService,
)

__all__ = [
    "IPAllowList",
    "InFlightConn",
    "ProxyProtocol",
    "TcpConfig",
    "TcpHealthCheck",
    "TcpLoadBalancer",
    "TcpMiddleware",
    "TcpParentHealthCheck",
    "TcpRouter",
    "TcpServer",
    "TcpServersTransport",
    "TcpService",
    "TcpSourceIP",
    "TcpSticky",
    "TcpWeighted",
    "TcpWeightedService",
]


class TcpConfig(Model):
    routers: dict[str, TcpRouter] = {}
    services: dict[str, TcpService] = {}
    middlewares: dict[str, TcpMiddleware] = {}
    servers_transports: dict[str, TcpServersTransport] = {}
