"""`weighted`, `highestRandomWeight`: services that choose among services. No I/O."""

from typing import ClassVar

from lbcore.config.model import Model
from lbcore.config.numbers import Weight
from lbcore.config.services.hash_on import HashOn
from lbcore.config.services.health_check import ParentHealthCheck
from lbcore.config.services.slow_start import SlowStart
from lbcore.config.services.sticky import Sticky


class WeightedService(Model):
    meant: ClassVar[str] = "each service begins with a dash: - name: NAME"

    name: str
    weight: Weight = 1


class WeightedSticky(Sticky):
    """A key is needed here, as in Traefik."""

    may_be_empty: ClassVar[bool] = False


class Weighted(Model):
    """Extension `hashOn`: the same user always gets the same child, and a change of weights moves as few as it can."""

    services: list[WeightedService] = []
    sticky: WeightedSticky | None = None
    hash_on: HashOn | None = None
    health_check: ParentHealthCheck | None = None
    slow_start: SlowStart | None = None


class HighestRandomWeight(Model):
    """`hashOn`: extension, instead of the client's address."""

    services: list[WeightedService] = []
    hash_on: HashOn | None = None
    health_check: ParentHealthCheck | None = None
