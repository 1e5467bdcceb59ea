from lbcore.state.region import Region

class Member:
    name: str
    key: str
    slot: int
    def __init__(self, name: str, key: str, region: Region, worker: int, slot: int) -> None: ...
