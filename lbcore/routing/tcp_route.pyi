from lbcore.routing.matcher import Program
from lbcore.routing.service import Service

class TcpPolicy:
    termination_ms: int
    proxy_protocol: int
    def __init__(self, termination_ms: int = -1, proxy_protocol: int = 0) -> None: ...

class TcpRoute:
    name: str
    service: Service
    def __init__(self, name: str, rule: Program, allowed: list[list[Program]], service: Service) -> None: ...

class TcpRoutes:
    routes: list[TcpRoute]
    def __init__(self, routes: list[TcpRoute]) -> None: ...
