from lbcore.middleware.base import Middleware
from lbcore.routing.index import RouteIndex
from lbcore.routing.service import Service
from lbcore.state.region import Region

Span = tuple[str, tuple[tuple[str, str], ...]]

class Route:
    name: str
    router: str
    root: str
    middlewares: tuple[Middleware, ...]
    service: Service
    slot: int
    outer: Route | None
    children: RouteIndex | None
    spans: tuple[Span | None, ...] | None
    def __init__(
        self,
        name: str,
        middlewares: tuple[Middleware, ...],
        service: Service,
        slot: int = ...,
        outer: Route | None = None,
    ) -> None: ...
    def fork(self, children: RouteIndex) -> None: ...
    def count_in(self, region: Region, worker: int) -> Route: ...
    def observe(
        self,
        logged: bool,
        counted: bool,
        internal: bool = False,
        traced: bool = False,
        spans: tuple[Span | None, ...] | None = None,
    ) -> Route: ...
