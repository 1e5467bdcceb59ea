from lbcore.routing.server import Server
from lbcore.state.region import Region

class Service:
    name: str

class UpstreamPolicy:
    dial_timeout_ms: int
    response_header_timeout_ms: int
    idle_timeout_ms: int
    max_idle: int
    def __init__(
        self,
        dial_timeout_ms: int = 30000,
        response_header_timeout_ms: int = 0,
        idle_timeout_ms: int = 90000,
        max_idle: int = 200,
    ) -> None: ...

class LoadBalancer(Service):
    servers: list[Server]
    policy: UpstreamPolicy
    def __init__(
        self,
        name: str,
        servers: list[Server],
        weights: list[int],
        region: Region,
        slot: int,
        pass_host: bool = True,
        policy: UpstreamPolicy | None = None,
    ) -> None: ...
    def pick(self) -> Server | None: ...

class Weighted(Service):
    services: list[Service]
    def __init__(self, name: str, services: list[Service], weights: list[int], region: Region, slot: int) -> None: ...
    def pick(self) -> Server | None: ...
