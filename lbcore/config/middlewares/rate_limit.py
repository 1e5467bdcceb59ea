"""`rateLimit`: so many requests of a source in a time, with bursts. No I/O."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from lbcore.config.middlewares.source import SourceCriterion
from lbcore.config.model import Model, keys
from lbcore.config.units import SignedDuration, seconds


class RateLimit(Model):
    """average  requests in a period; not above 0: no limit.
    period   0: a second.
    burst    that may come at once; below 1 counts as 1.
    """

    missing = keys("redis", "all workers of an instance share the limit; several instances do not")

    average: int = Field(default=0, ge=-(1 << 63), lt=1 << 63)
    period: SignedDuration = seconds(1)
    burst: int = Field(default=1, ge=-(1 << 63), lt=1 << 63)
    source_criterion: SourceCriterion | None = None

    @property
    def interval_ns(self) -> float:
        """From one request to the next; 0 = there is no limit."""
        period = self.period or timedelta(seconds=1)
        return period / timedelta(microseconds=1) * 1000 / self.average if self.average > 0 else 0.0
