"""`tcp.routers`: which connections go through which middlewares to which service. No I/O."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lbcore.config.model import Object, keys
from lbcore.config.routers import MAX_USER_PRIORITY


class TcpRouter(Object):
    """Rule to middlewares to service. `priority` 0: the length of the rule, -1 for the rule that takes everything."""

    missing = keys("tls", "let something in front end TLS, or leave tls out: HostSNI(`*`) takes every connection")
    ignored = keys("ruleSyntax", "rules are those of Traefik 3")

    rule: str = ""
    entry_points: list[str] = []
    service: str = ""
    middlewares: list[str] = []
    priority: Annotated[int, Field(ge=-MAX_USER_PRIORITY, le=MAX_USER_PRIORITY)] = 0
