"""`http.routers`: rules, their middlewares and services. No I/O."""

from typing import Literal

from pydantic import field_validator
from pydantic.json_schema import SkipJsonSchema

from lbcore.config.model import Object
from lbcore.config.observability import Observability
from lbcore.config.tls import RouterTls

MAX_USER_PRIORITY = (1 << 63) - 1 - 1000
RuleSyntax = Literal["", "default", "v2", "v3"]


class RouterObservability(Observability):
    """Whether requests of the router are logged and counted; None = as the entry point says."""

    access_logs: bool | None = None
    metrics: bool | None = None


class Router(Object):
    """Rule to middlewares to service. `priority` 0: the length of the rule.

    parentRefs        routers whose requests it sees, as their middlewares have left them; these have no service then.
    ruled_by_default  whether its rule is that of its provider.
    texts             if it has faults: all texts in it, with keys, but those that could be read. See `config.claims`.
    """

    rule: str = ""
    entry_points: list[str] = []
    service: str = ""
    middlewares: list[str] = []
    priority: int = 0
    rule_syntax: RuleSyntax = ""
    observability: RouterObservability = RouterObservability()
    tls: RouterTls | None = None
    parent_refs: list[str] = []
    ruled_by_default: SkipJsonSchema[bool] = False
    texts: SkipJsonSchema[tuple[str, ...]] = ()

    @field_validator("priority")
    @classmethod
    def _below_internal(cls, value: int) -> int:
        if value > MAX_USER_PRIORITY:
            raise ValueError(f"{value} is above the highest priority a user may set, {MAX_USER_PRIORITY}")
        return value
