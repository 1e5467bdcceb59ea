"""`circuitBreaker`: requests are refused while an expression over the last answers is true. No I/O."""

from typing import Annotated, Any

from pydantic import Field

from lbcore.config.model import Change, Model
from lbcore.config.units import SignedDuration, not_above_zero, seconds


class CircuitBreaker(Model):
    """Durations that are not above 0 count as their defaults, as in Traefik."""

    expression: str = ""
    check_period: SignedDuration = seconds(0.1)
    fallback_duration: SignedDuration = seconds(10)
    recovery_duration: SignedDuration = seconds(10)
    response_code: Annotated[int, Field(ge=200, le=599)] = 503

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        changes = not_above_zero(data, "checkPeriod", "fallbackDuration", "recoveryDuration")
        for change in changes:
            del data[change.key]
        return changes
