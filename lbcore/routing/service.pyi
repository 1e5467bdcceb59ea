from lbcore.http.request import Request
from lbcore.routing.server import Server

class UpstreamPolicy:
    dial_timeout_ms: int
    response_header_timeout_ms: int
    idle_timeout_ms: int
    max_idle: int
    read_idle_timeout_ms: int
    ping_timeout_ms: int
    def __init__(
        self,
        dial_timeout_ms: int = 30000,
        response_header_timeout_ms: int = 0,
        idle_timeout_ms: int = 90000,
        max_idle: int = 200,
        read_idle_timeout_ms: int = 0,
        ping_timeout_ms: int = 15000,
    ) -> None: ...

class Service:
    name: str
    slot: int
    @property
    def is_up(self) -> bool: ...
    @property
    def changed_ns(self) -> int: ...
    @property
    def children(self) -> list[tuple[str, Service]]: ...
    def trace(self, request: Request) -> tuple[Server | None, list[tuple[Service, int]]]: ...
    def pick(self, request: Request | None = None, *, under_way: bool = False) -> Server | None: ...
