from collections.abc import Mapping

from lbcore.routing.balancer import LoadBalancer
from lbcore.routing.service import Service
from lbcore.state.region import Region

class WaitQueue:
    length: int
    service: Service
    max_requests: int
    timeout_ns: int
    slot: int
    def __init__(self, region: Region, worker: int, slot: int, max_requests: int, timeout_ms: int) -> None: ...
    def belong_to(self, service: LoadBalancer, settings: WaitQueue | None = None) -> None: ...

def adopt(known: dict[str, WaitQueue], balancers: Mapping[str, LoadBalancer | None]) -> None: ...
