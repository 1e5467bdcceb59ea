from collections.abc import Sequence

from lbcore.state.region import Region

MOST_HEADERS: int
LONGEST_VALUE: int
SHED: str

class HeaderLabels:
    def __init__(self, region: Region, worker: int, headers: Sequence[str]) -> None: ...

def values_of(text: bytes, count: int) -> list[str]: ...
