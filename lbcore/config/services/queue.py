"""Extension `queue`: where requests wait when all servers are full. No I/O."""

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from lbcore.config.model import Model
from lbcore.config.units import Duration


class Queue(Model):
    """Extension: where requests wait when all servers have `maxConnections` under way.

    maxRequests  that may wait at once, in all workers; 0: none may.
    timeout      of waiting; then the answer is 503.
    """

    may_be_empty: ClassVar[bool] = True

    max_requests: Annotated[int, Field(ge=0, le=1 << 20)] = 1024
    timeout: Duration = timedelta(seconds=1)

    @field_validator("timeout")
    @classmethod
    def _some(cls, value: timedelta) -> timedelta:
        if value < timedelta(milliseconds=1):
            raise ValueError("has to be 1ms or more; with maxRequests: 0 no request waits")
        return value
