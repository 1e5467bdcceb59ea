from collections.abc import Iterable, Mapping

from lbcore.selection.bucketed import Renumbered
from lbcore.selection.selector import S

class Anchor(Renumbered[S]):
    def __init__(
        self,
        servers: Mapping[S, int] | Iterable[S] = (),
        *,
        seed: int = 0,
        capacity: int | None = None,
        hash: str = "mix64",
        bounded_load: float | None = None,
    ) -> None: ...
