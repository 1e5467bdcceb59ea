"""`tcp.routers`: which connections go through which middlewares to which service. No I/O."""

from __future__ import annotations

from typing import ClassVar

from lbcore.config.model import Model, keys


class TcpRouter(Model):
    """Rule to middlewares to service. `priority` 0: the length of the rule, -1 for the rule that takes everything."""

    unsupported: ClassVar[frozenset[str]] = keys("tls ruleSyntax")

    rule: str = ""
    entry_points: list[str] = []
    service: str = ""
    middlewares: list[str] = []
    priority: int = 0
