"""Health checks of services: active, passive, and of parents that watch their children. No I/O."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lbcore.config.model import WHEN_SET, Change, Model
from lbcore.config.numbers import ShortDuration
from lbcore.config.units import Interval, Patience, not_above_zero


def _check_share(value: str) -> str:
    number = value.removesuffix("%")
    if value and not (
        number.isascii() and number.isdigit() and 0 < int(number) <= (100 if value[-1] == "%" else 1 << 20)
    ):
        raise ValueError(f"{value!r} is neither a count above 0 nor a percentage from 1% to 100%")
    return value


Share = Annotated[str, AfterValidator(_check_share)]  # `3`, or `50%`


class ParentHealthCheck(Model):
    """Watch the children: up while enough of them are.

    minHealthy      (extension) how many, or how many per cent of the weight, have to be up.
    recoverHealthy  (extension) likewise, for one that is down to be up again.
    """

    may_be_empty: ClassVar[bool] = True

    min_healthy: Share = ""
    recover_healthy: Share = ""

    @model_validator(mode="after")
    def _alike(self) -> Self:
        if self.recover_healthy and self.recover_healthy.endswith("%") != self.min_healthy.endswith("%"):
            raise ValueError("minHealthy and recoverHealthy have to be both counts or both percentages")
        return self


class HealthCheck(ParentHealthCheck):
    """Ask each server every `interval`, one that is down every `unhealthyInterval`.

    rise, fall  (extension) answers in a row that change a server's status.
    expectBody  (extension) a text that the first 64 KiB of the body hold.
    startDown   (extension) a new server gets no request before its first check.
    """

    may_be_empty: ClassVar[bool] = False

    scheme: Literal["", "http", "https"] = ""
    mode: Literal["", "http", "grpc"] = "http"
    path: str = ""
    method: str = ""
    status: Annotated[int, Field(ge=0, le=999)] = 0
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    interval: Interval = timedelta(seconds=30)
    unhealthy_interval: Interval | None = None
    timeout: Patience = timedelta(seconds=5)
    hostname: str = ""
    follow_redirects: bool = True
    headers: dict[str, str] = {}
    rise: Annotated[int, Field(ge=1, le=1000), WHEN_SET] = 1
    fall: Annotated[int, Field(ge=1, le=1000), WHEN_SET] = 1
    expect_body: str = ""
    start_down: bool = False

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        """As in Traefik, the default holds in place of what is not above 0."""
        return not_above_zero(data, "interval", "unhealthyInterval", "timeout")


class PassiveHealthCheck(Model):
    """Eject a server when `maxFailedAttempts` requests to it failed within `failureWindow`, for that long at first.

    maxEjectionPercent  (extension) of the servers that may be ejected at once.
    maxEjectionTime     (extension) the longest ejection: each one in a row lasts twice as long as the one before.
    """

    failure_window: ShortDuration = timedelta(seconds=10)
    max_failed_attempts: Annotated[int, Field(lt=1 << 31), AfterValidator(lambda value: max(value, 1))] = 1
    max_ejection_percent: Annotated[int, Field(ge=0, le=100), WHEN_SET] = 100
    max_ejection_time: Annotated[ShortDuration, WHEN_SET] = timedelta(minutes=5)
