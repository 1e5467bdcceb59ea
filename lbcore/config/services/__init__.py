"""`http.services`: exactly one way to choose each, a file for every kind. No I/O."""

from datetime import timedelta
from typing import Annotated

from lbcore.config.model import WHEN_SET, Object
from lbcore.config.numbers import ShortDuration
from lbcore.config.services.failover import Failover
from lbcore.config.services.load_balancer import LoadBalancer
from lbcore.config.services.mirroring import Mirroring
from lbcore.config.services.weighted import HighestRandomWeight, Weighted


class Service(Object):
    """Exactly one way to choose; `middlewares` run before it.

    timeout  (extension) that a request has from there to the end of its answer; 0: any time.
    """

    middlewares: list[str] = []
    timeout: Annotated[ShortDuration, WHEN_SET] = timedelta(0)
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
        parents = (self.weighted, self.highest_random_weight, self.failover, self.mirroring)
        if parents == (None, None, None, None):
            return []  # nearly always: asked for with each service
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
