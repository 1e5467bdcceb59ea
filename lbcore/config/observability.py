"""`observability` of entry points and routers: the part that both share. No I/O."""

from typing import Literal

from lbcore.config.model import Model

Verbosity = Literal["minimal", "detailed"]


class Observability(Model):
    """`traceVerbosity`: `detailed` adds spans of routers, middlewares and services to those of the request and of each
    attempt at a server."""

    tracing: bool | None = None
    trace_verbosity: Verbosity | None = None
