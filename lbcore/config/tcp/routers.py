"""`tcp.routers`: which connections go through which middlewares to which service. No I/O."""

from typing import Annotated

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from lbcore.config.model import Object
from lbcore.config.routers import MAX_USER_PRIORITY, RuleSyntax
from lbcore.config.tls import TcpRouterTls


class TcpRouter(Object):
    """Rule to middlewares to service. `priority` 0: the length of the rule, -1 for the rule that takes everything.

    tls    it takes what comes over TLS, and nothing else.
    texts  if it has faults: all texts in it, with keys, but those that could be read. See `config.claims`.
    """

    rule: str = ""
    rule_syntax: RuleSyntax = ""
    entry_points: list[str] = []
    service: str = ""
    middlewares: list[str] = []
    tls: TcpRouterTls | None = None
    priority: Annotated[int, Field(ge=-MAX_USER_PRIORITY, le=MAX_USER_PRIORITY)] = 0
    texts: SkipJsonSchema[tuple[str, ...]] = ()
