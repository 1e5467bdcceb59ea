from lbcore.routing.member import Member
from lbcore.state.region import Region
from lbcore.tls.connector import Target

class Server(Member):
    host: str
    port: int
    preserve_path: bool
    limit: int
    target: Target | None
    offers_http2: bool
    is_http2: bool
    @property
    def url(self) -> str: ...
    def __init__(
        self,
        name: str,
        url: str,
        region: Region,
        worker: int,
        slot: int,
        preserve_path: bool = False,
        target: Target | None = None,
        offers_http2: bool = False,
    ) -> None: ...
