"""`loadBalancer`: a service that chooses among servers. No I/O."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from lbcore.config.model import Model
from lbcore.config.services.hash_on import HashOn
from lbcore.config.services.health_check import HealthCheck, PassiveHealthCheck
from lbcore.config.services.queue import Queue
from lbcore.config.services.slow_start import SlowStart
from lbcore.config.services.sticky import Sticky
from lbcore.config.units import Duration

MaxConnections = Annotated[int, Field(ge=0, lt=1 << 31)]


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
