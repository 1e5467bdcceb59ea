"""Numbers with the bounds of the code that uses them. No I/O."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from lbcore.config.units import Duration, LimitDuration, SignedDuration

INT64_MAX = (1 << 63) - 1
SHORT = timedelta(days=24)  # less than 2^31 ms
KEEP_ALIVE = timedelta(seconds=32767)  # the greatest value of TCP_KEEPIDLE in Linux

Weight = Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)]  # below 0 counts as 0, as in Traefik
Count = Annotated[int, Field(ge=0, lt=1 << 31)]
OrNone = Annotated[int, Field(ge=-(1 << 31), lt=1 << 31), AfterValidator(lambda value: max(value, 0))]  # below 0: none
Size = Annotated[int, Field(ge=0, le=INT64_MAX)]
Limit = Annotated[int, AfterValidator(lambda value: max(value, -1))]  # of bytes; below 0: none
Seconds = Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)]


def _short(value: timedelta) -> timedelta:
    if value > SHORT:
        raise ValueError(f"longer than {SHORT.days} days")
    return value


def _some(value: timedelta) -> timedelta:
    if value < timedelta(milliseconds=1):
        raise ValueError("at least 1ms is needed")
    return value


def _keep_alive(value: timedelta) -> timedelta:
    if value > KEEP_ALIVE:
        raise ValueError(f"longer than {KEEP_ALIVE.seconds} seconds")
    return value


def _above_zero(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("has to be above 0")
    return value


AboveZero = Annotated[LimitDuration, AfterValidator(_above_zero)]
KeepAlive = Annotated[SignedDuration, AfterValidator(_keep_alive)]
ShortDuration = Annotated[Duration, AfterValidator(_short)]
PositiveDuration = Annotated[ShortDuration, AfterValidator(_some)]  # a limit that something can keep
