"""`udp.routers`: which entry points lead to which service. No I/O."""

from lbcore.config.model import Object


class UdpRouter(Object):
    """All datagrams of its entry points go to its service. Without `entryPoints`: of all of UDP."""

    entry_points: list[str] = []
    service: str = ""
