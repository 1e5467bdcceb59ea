from collections.abc import Iterable, Sequence

from lbcore.config.static import Tracing
from lbcore.state.region import Region

PROPAGATORS: dict[str, int]

def captured(names: Iterable[str], direction: str) -> tuple[tuple[bytes, bytes], ...]: ...
def attribute(key: str, value: str | int) -> bytes: ...
def described(name: str, attributes: Iterable[tuple[str, str | int]]) -> bytes: ...

class Tracer:
    adds_internals: bool
    def __init__(self, settings: Tracing, region: Region, worker: int, propagators: Sequence[str]) -> None: ...
