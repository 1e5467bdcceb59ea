from lbcore.routing.service import Service

class UdpRoute:
    name: str
    service: Service
    def __init__(self, name: str, service: Service) -> None: ...
