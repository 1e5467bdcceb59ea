from lbcore.middleware.base import Middleware
from lbcore.routing.route import Span
from lbcore.routing.service import Service

class Guarded(Service):
    middlewares: tuple[Middleware, ...]
    service: Service
    spans: tuple[Span | None, ...] | None
    def __init__(
        self,
        name: str,
        middlewares: tuple[Middleware, ...],
        service: Service,
        spans: tuple[Span | None, ...] | None = None,
    ) -> None: ...
