"""`observability` of entry points and routers: the part that both share. No I/O."""

from __future__ import annotations

from typing import Any

from lbcore.config.model import Change, Model, keys


class Observability(Model):
    ignored = keys("traceVerbosity", "there is no tracing in this version of lbcore")

    tracing: bool | None = None

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        if data.get("tracing"):
            return [Change("tracing", "has no effect", "there is no tracing in this version of lbcore")]
        return []
