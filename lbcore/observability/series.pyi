from collections.abc import Sequence

from lbcore.state.region import Region

METHODS: tuple[str, ...]
PROTOCOLS: tuple[str, ...]
KINDS: tuple[str, ...]

class Series:
    def __init__(self, region: Region, worker: int, buckets: Sequence[float]) -> None: ...

def labels_of(key: int) -> tuple[str, int, int, str, str]: ...

SUITES: tuple[str, ...]

def tls_labels_of(key: int) -> tuple[str, int, str, str] | None: ...
