from collections.abc import Iterable, Mapping

from lbcore.selection.bucketed import Bucketed
from lbcore.selection.selector import S

class Jump(Bucketed[S]):
    def __init__(
        self,
        servers: Mapping[S, int] | Iterable[S] = (),
        *,
        seed: int = 0,
        hash: str = "mix64",
        bounded_load: float | None = None,
    ) -> None: ...

def jump_hash(key: int, buckets: int, /) -> int: ...
