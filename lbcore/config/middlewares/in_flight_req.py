"""`inFlightReq`: limits the requests of one source that are in flight at once. No I/O."""

from typing import Annotated

from lbcore.config.middlewares.rate_limit import RedisLimit
from lbcore.config.middlewares.source import SourceCriterion
from lbcore.config.model import WHEN_SET, Model
from lbcore.config.numbers import Size


class InFlightReq(Model):
    """Without `amount`: none, as in Traefik. Without a criterion the host of the request counts.

    redis      (extension) where instances count what is under way in all of them.
    fleetWide  (extension) the amount is that of all instances of the fleet: each has its part, by the number of those
               that live.
    """

    amount: Size = 0
    source_criterion: SourceCriterion | None = None
    redis: Annotated[RedisLimit | None, WHEN_SET] = None
    fleet_wide: Annotated[bool, WHEN_SET] = False

    def without_effect(self) -> list[str]:
        return [] if self.source_criterion is None else self.source_criterion.without_effect()
