from collections.abc import Sequence

from lbcore.config.static import Tracing
from lbcore.state.region import Region

PROPAGATORS: dict[str, int]

class Tracer:
    adds_internals: bool
    def __init__(self, settings: Tracing, region: Region, worker: int, propagators: Sequence[str]) -> None: ...
