"""The dynamic configuration of UDP: routers and services of datagrams. No I/O."""

from lbcore.config.model import Model
from lbcore.config.udp.routers import UdpRouter
from lbcore.config.udp.services import (
    UdpFailover,
    UdpHealthCheck,
    UdpLoadBalancer,
    UdpServer,
    UdpService,
    UdpWeighted,
    UdpWeightedService,
)

__all__ = [
    "UdpConfig",
    "UdpFailover",
    "UdpHealthCheck",
    "UdpLoadBalancer",
    "UdpRouter",
    "UdpServer",
    "UdpService",
    "UdpWeighted",
    "UdpWeightedService",
]


class UdpConfig(Model):
    routers: dict[str, UdpRouter] = {}
    services: dict[str, UdpService] = {}
