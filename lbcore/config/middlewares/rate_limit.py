"""`rateLimit`: limits the requests of one source per time, with bursts; in one instance, or over several. No I/O."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from lbcore.config.middlewares.source import SourceCriterion
from lbcore.config.middlewares.upstream import UpstreamTls
from lbcore.config.model import SECRETS, WHEN_SET, Model
from lbcore.config.numbers import Count, OrNone, ShortDuration
from lbcore.config.units import SignedDuration, seconds


class RedisLimit(Model):
    """Buckets lie in Redis or Valkey, for all instances that use it.

    endpoints       host:port; several ones are servers of a cluster.
    poolSize        connections of an instance to each of them; 0: ten for each worker.
    minIdleConns    of these stay open.
    maxActiveConns  a limit for `poolSize`; 0: none.
    readTimeout     for a reply, after which the store counts as away; not above 0: none. writeTimeout: likewise.
    dialTimeout     not above 0: 5 s.
    whenAway        (extension) what counts while the store is away: the buckets of this instance, or a request passes,
                    or is refused.
    maxWait         (extension) that a request waits for the store.
    """

    may_be_empty: ClassVar[bool] = True

    endpoints: list[str] = ["127.0.0.1:6379"]
    tls: UpstreamTls | None = None
    username: str = ""
    password: Annotated[str, SECRETS] = Field(default="", repr=False)
    db: Count = 0
    pool_size: OrNone = 0
    min_idle_conns: OrNone = 0
    max_active_conns: OrNone = 0
    read_timeout: SignedDuration = seconds(3)
    write_timeout: SignedDuration = seconds(3)
    dial_timeout: SignedDuration = seconds(5)
    when_away: Annotated[Literal["local", "pass", "refuse"], WHEN_SET] = "local"
    max_wait: Annotated[ShortDuration, WHEN_SET] = seconds(1)

    @field_validator("endpoints")
    @classmethod
    def _addresses(cls, values: list[str]) -> list[str]:
        if not values:
            raise ValueError("at least one is needed")
        for value in values:
            address_of(value)
        return values

    @field_validator("max_wait")
    @classmethod
    def _above_zero(cls, value: timedelta) -> timedelta:
        if value < timedelta(milliseconds=1):
            raise ValueError("at least 1ms is needed")
        return value

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        return tuple(address_of(endpoint) for endpoint in self.endpoints)


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


def address_of(endpoint: str) -> tuple[str, int]:
    """Host and port. Raises ValueError."""
    host, colon, port = endpoint.strip().rpartition(":")
    if not colon or not host.strip("[]") or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError(f"{endpoint!r} is no address: write host:port")
    return host.strip("[]"), int(port)
