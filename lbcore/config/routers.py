"""`http.routers`: rules, their middlewares and services. No I/O."""

from __future__ import annotations

from pydantic import field_validator

from lbcore.config.model import UNSUPPORTED, Object
from lbcore.config.observability import Observability
from lbcore.config.tls import RouterTls

MAX_USER_PRIORITY = (1 << 63) - 1 - 1000


class RouterObservability(Observability):
    """Whether requests of the router are logged and counted; None = as the entry point says."""

    access_logs: bool | None = None
    metrics: bool | None = None


class Router(Object):
    """Rule to middlewares to service. `priority` 0: the length of the rule."""

    missing = {
        "parentRefs": "write the conditions of the parents into the rule",
    }

    rule: str = ""
    entry_points: list[str] = []
    service: str = ""
    middlewares: list[str] = []
    priority: int = 0
    rule_syntax: str = ""
    observability: RouterObservability = RouterObservability()
    tls: RouterTls | None = None

    @field_validator("rule_syntax")
    @classmethod
    def _of_today(cls, value: str) -> str:
        if value.lower() not in ("", "default", "v3"):
            raise ValueError(f"rules of {value} are {UNSUPPORTED}: Host(`a`, `b`) is written Host(`a`) || Host(`b`)")
        return value

    @field_validator("priority")
    @classmethod
    def _below_internal(cls, value: int) -> int:
        if value > MAX_USER_PRIORITY:
            raise ValueError(f"{value} is above the highest priority a user may set, {MAX_USER_PRIORITY}")
        return value
