"""`http.routers`: which requests go through which middlewares to which service. No I/O."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import field_validator

from lbcore.config.model import Model, keys
from lbcore.config.tracing import NoTracing

MAX_USER_PRIORITY = (1 << 63) - 1 - 1000


class RouterObservability(Model):
    """Whether its requests are told about; None: as its entry point says."""

    unsupported: ClassVar[frozenset[str]] = keys("traceVerbosity")

    access_logs: bool | None = None
    metrics: bool | None = None
    tracing: NoTracing = None


class Router(Model):
    """Rule to middlewares to service. `priority` 0: the length of the rule."""

    unsupported: ClassVar[frozenset[str]] = keys("tls parentRefs")

    rule: str = ""
    entry_points: list[str] = []
    service: str = ""
    middlewares: list[str] = []
    priority: int = 0
    rule_syntax: Literal["", "v3"] = ""
    observability: RouterObservability = RouterObservability()

    @field_validator("priority")
    @classmethod
    def _below_internal(cls, value: int) -> int:
        if value > MAX_USER_PRIORITY:
            raise ValueError(f"{value} is above the highest priority a user may set, {MAX_USER_PRIORITY}")
        return value
