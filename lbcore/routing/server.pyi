from lbcore.state.region import Region

class Server:
    name: str
    url: str
    host: str
    port: int
    slot: int
    preserve_path: bool
    def __init__(self, name: str, url: str, preserve_path: bool, region: Region, worker: int, slot: int) -> None: ...
