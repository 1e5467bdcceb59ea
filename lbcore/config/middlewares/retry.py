"""`retry`: further attempts after a failure, or beside an attempt that is slow, at other servers first. No I/O."""

import re
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from lbcore.config.model import WHEN_SET, Model
from lbcore.config.numbers import Count, Limit, PositiveDuration
from lbcore.config.units import NONE, SignedDuration

MEBI = 1 << 20
METHOD = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class RetryBudget(Model):
    """What all requests of the middleware together have for further attempts, over the last ten seconds.

    ratio         of further attempts to requests.
    minPerSecond  that are allowed beside these.
    """

    may_be_empty: ClassVar[bool] = True

    ratio: Annotated[float, Field(ge=0, le=1000)] = 0.2
    min_per_second: Count = 10


SAFE = ["GET", "HEAD", "OPTIONS", "TRACE"]  # RFC 9110 section 9.2.1


class Hedging(Model):
    """after    the time without an answer, since a server has the whole request: then another one is asked beside it.
    methods  of requests that are hedged; empty: those that are safe.

    An idempotent method, as PUT, may be repeated after a failure; but the slower of two servers may carry it out after
    the client has had its answer, and sent another one.
    """

    after: PositiveDuration
    methods: list[str] = []

    @field_validator("methods")
    @classmethod
    def _are_methods(cls, value: list[str]) -> list[str]:
        for method in value:
            if not METHOD.fullmatch(method):
                raise ValueError(f"{method!r} is no method")
        return value

    @property
    def hedged(self) -> list[str]:
        """The methods of requests that are hedged."""
        return self.methods or SAFE


class Retry(Model):
    """attempts             all of them, the first one included; a client would wait for very many without an end.
    initialInterval      before the second attempt, and up to twice as long before later ones; not above 0: none.
    timeout              no attempt begins later than that after the request came; not above 0: any time.
    status               ranges of answers after which another server is asked.
    maxRequestBodyBytes  of a request that is sent again after an answer; below 0: a share of the memory for bodies.
    budget               (extension) a limit for further attempts, so that they do not burden servers that fail.
    hedging              (extension) further attempts beside one that is slow; within a budget in any case.
    """

    attempts: int = Field(default=0, le=1000)
    initial_interval: SignedDuration = timedelta(0)
    timeout: SignedDuration = timedelta(0)
    max_request_body_bytes: Limit = 2 * MEBI
    status: list[str] = []
    disable_retry_on_network_error: bool = False
    retry_non_idempotent_method: bool = False
    budget: Annotated[RetryBudget | None, WHEN_SET] = None
    hedging: Annotated[Hedging | None, WHEN_SET] = None

    @model_validator(mode="after")
    def _room_for_hedging(self) -> "Retry":
        if self.hedging is not None:
            if self.attempts == 1:
                raise ValueError("hedging needs attempts: 2 or more; the first one is among them")
            if NONE < self.timeout <= self.hedging.after:
                raise ValueError("hedging: after has to be shorter than timeout, after which no attempt begins")
        return self
