from lbcore.http.networks import Networks
from lbcore.routing.matcher import Program
from lbcore.routing.service import Service
from lbcore.state.holdings import Denials
from lbcore.state.keyed import KeyedTable
from lbcore.state.region import Region
from lbcore.tls.certificate import Pair
from lbcore.tls.handshake import Acceptor

class TcpPolicy:
    termination_ms: int
    proxy_protocol: int
    keep_alive_s: int
    def __init__(self, termination_ms: int = -1, proxy_protocol: int = 0, keep_alive_s: int = 15) -> None: ...

class ConnectionLimit:
    amount: int
    def __init__(self, table: KeyedTable, group: int, amount: int) -> None: ...

class TcpRoute:
    name: str
    limits: list[ConnectionLimit] | None
    service: Service
    encrypted: bool
    acceptor: Acceptor | None
    def __init__(
        self,
        name: str,
        rule: Program,
        allowed: list[Networks],
        service: Service,
        limits: list[ConnectionLimit] | None = None,
        encrypted: bool = False,
        acceptor: Acceptor | None = None,
        takes_all: bool = False,
    ) -> None: ...
    def count_denials(self, denials: list[Denials]) -> None: ...
    def count_in(self, region: Region, worker: int, slot: int) -> TcpRoute: ...
    def ending_at(self, acceptor: Acceptor) -> TcpRoute: ...

class TcpRoutes:
    routes: list[TcpRoute]
    encrypted: list[TcpRoute]
    def __init__(
        self,
        routes: list[TcpRoute],
        https_hosts: frozenset[bytes] = ...,
        https_for_any: bool = False,
        challenges: dict[bytes, Pair] | None = None,
    ) -> None: ...
