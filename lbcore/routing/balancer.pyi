from collections.abc import Sequence

from lbcore.routing.member import Member
from lbcore.routing.picker import Picker
from lbcore.routing.queue import WaitQueue
from lbcore.routing.server import Server
from lbcore.routing.service import Service, UpstreamPolicy
from lbcore.routing.sticky import StickyCookie
from lbcore.routing.tcp_route import TcpPolicy
from lbcore.state.region import Region

class Balancer(Service):
    members: list[Member]
    def use(
        self,
        picker: Picker | None = None,
        sticky: StickyCookie | None = None,
        watches: bool = False,
        quorum: tuple[int, int, int] = (0, 0, 0),
        sessions: bool = False,
    ) -> None: ...
    @property
    def effective_weights(self) -> list[float]: ...
    @property
    def configured_weights(self) -> list[int]: ...
    @property
    def is_watching(self) -> bool: ...
    def member_stands(self, index: int) -> bool: ...

class LoadBalancer(Balancer):
    policy: UpstreamPolicy
    queue: WaitQueue | None
    @property
    def servers(self) -> list[Server]: ...
    def __init__(self, name: str, members: Sequence[Server], weights: list[int], region: Region, slot: int) -> None: ...
    def configure(
        self,
        policy: UpstreamPolicy,
        pass_host: bool = True,
        counts: bool = False,
        times: bool = False,
        ejection: tuple[int, int, int] = (0, 0, 100),
        queue: WaitQueue | None = None,
    ) -> None: ...
    def configure_tcp(self, policy: TcpPolicy) -> None: ...
    def may_eject(self) -> bool: ...

class Child(Member):
    service: Service
    def __init__(self, name: str, key: str, region: Region, worker: int, slot: int, service: Service) -> None: ...

class Weighted(Balancer):
    def __init__(self, name: str, members: Sequence[Child], weights: list[int], region: Region, slot: int) -> None: ...
