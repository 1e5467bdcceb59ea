"""`loadBalancer`: a service that chooses among servers. No I/O."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import field_validator

from lbcore.config.model import WHEN_SET, Model, keys
from lbcore.config.network import is_foreign, is_nowhere
from lbcore.config.numbers import Count, Weight
from lbcore.config.services.hash_on import HashOn
from lbcore.config.services.health_check import HealthCheck, PassiveHealthCheck
from lbcore.config.services.queue import Queue
from lbcore.config.services.slow_start import SlowStart
from lbcore.config.services.sticky import Sticky
from lbcore.config.units import SignedDuration

MaxConnections = Count


class Server(Model):
    """`url`: http://host:port, or (extension) unix:/path. `weight` 0: gets no requests.

    maxConnections  (extension) requests that may be in flight at once; 0 = no limit. Default: that of its service.
    """

    may_be_empty: ClassVar[bool] = True
    meant: ClassVar[str] = "each server begins with a dash: - url: http://host:port"
    ignored: ClassVar[Mapping[str, str]] = keys("scheme port", "write url: http://host:port")

    url: str = ""
    weight: Annotated[Weight, WHEN_SET] = 1
    preserve_path: bool = False
    max_connections: MaxConnections | None = None


class ResponseForwarding(Model):
    """Accepted for compatibility with Traefik: lbcore forwards every byte as soon as it arrives."""

    flush_interval: SignedDuration = timedelta(milliseconds=100)


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

    @field_validator("strategy")
    @classmethod
    def _default(cls, value: str) -> str:
        return value or "wrr"

    def limit_of(self, server: Server) -> int:
        """Requests that may be in flight at a server; 0 = no limit."""
        return self.max_connections if server.max_connections is None else server.max_connections

    @property
    def sited(self) -> list[Server]:
        """The servers that are asked: those whose URLs name a host, by a scheme that is known unless none does."""
        sited = [server for server in self.servers if not is_nowhere(server.url)]
        return [server for server in sited if not is_foreign(server.url)] or sited

    @property
    def is_limited(self) -> bool:
        """Whether any server has a limit."""
        return any(map(self.limit_of, self.servers))
