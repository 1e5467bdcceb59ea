"""`rateLimit`: limits the requests of one source per time, with bursts; in one instance, or over several. No I/O."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from lbcore.config.middlewares.shared_redis import SharedRedis
from lbcore.config.middlewares.source import SourceCriterion
from lbcore.config.model import WHEN_SET, Model
from lbcore.config.numbers import OrNone, PositiveDuration
from lbcore.config.units import SignedDuration, seconds


class RedisLimit(SharedRedis):
    """Buckets lie in Redis or Valkey, for all instances that use it.

    poolSize        connections of an instance to each of them; 0: ten for each worker.
    minIdleConns    of these stay open.
    maxActiveConns  a limit for `poolSize`; 0: none.
    readTimeout     for a reply, after which the store counts as away; not above 0: none. writeTimeout: likewise.
    dialTimeout     not above 0: 5 s.
    whenAway        (extension) what counts while the store is away: the buckets of this instance, or a request passes,
                    or is refused.
    maxWait         (extension) that a request waits for the store.
    """

    pool_size: OrNone = 0
    min_idle_conns: OrNone = 0
    max_active_conns: OrNone = 0
    read_timeout: SignedDuration = seconds(3)
    write_timeout: SignedDuration = seconds(3)
    dial_timeout: SignedDuration = seconds(5)
    when_away: Annotated[Literal["local", "pass", "refuse"], WHEN_SET] = "local"
    max_wait: Annotated[PositiveDuration, WHEN_SET] = seconds(1)


class RateLimit(Model):
    """average  requests in a period; not above 0: no limit.
    period   0: a second.
    burst    that may come at once; below 1 counts as 1.
    redis    where buckets lie that several instances share.
    fleetWide  (extension) the limit is that of all instances of the fleet: each has its part, by the number of those
             that live.
    """

    average: int = Field(default=0, ge=-(1 << 63), lt=1 << 63)
    period: SignedDuration = seconds(1)
    burst: int = Field(default=1, ge=-(1 << 63), lt=1 << 63)
    source_criterion: SourceCriterion | None = None
    redis: RedisLimit | None = None
    fleet_wide: Annotated[bool, WHEN_SET] = False

    @property
    def interval_ns(self) -> float:
        """From one request to the next; 0 = there is no limit."""
        period = self.period or timedelta(seconds=1)
        return period / timedelta(microseconds=1) * 1000 / self.average if self.average > 0 else 0.0
