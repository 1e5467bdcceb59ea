"""Extension `slowStart`: a new member's share grows to its weight. No I/O."""

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from lbcore.config.model import Model
from lbcore.config.numbers import ShortDuration


class SlowStart(Model):
    """Extension: a member that is new in a running service, or up again, gets a share that grows to its weight.

    duration          until it has all of it.
    aggression        above 1: more at first; the share is (time / duration) ** (1 / aggression).
    minWeightPercent  of its weight that it has from the start.
    """

    may_be_empty: ClassVar[bool] = True

    duration: ShortDuration = timedelta(seconds=30)
    aggression: Annotated[float, Field(gt=0, le=100)] = 1.0
    min_weight_percent: Annotated[int, Field(ge=1, le=100)] = 10

    @field_validator("duration")
    @classmethod
    def _some(cls, value: timedelta) -> timedelta:
        if value < timedelta(milliseconds=100):
            raise ValueError("has to be 100ms or more")
        return value
