from lbcore.middleware.base import Middleware
from lbcore.routing.service import Service

class Route:
    name: str
    middlewares: tuple[Middleware, ...]
    service: Service
    def __init__(self, name: str, middlewares: tuple[Middleware, ...], service: Service, slot: int = ...) -> None: ...
    def observe(self, logged: bool, counted: bool, internal: bool = False) -> Route: ...
