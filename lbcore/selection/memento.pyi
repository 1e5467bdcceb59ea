from collections.abc import Iterable, Mapping

from lbcore.selection.bucketed import Renumbered
from lbcore.selection.selector import S

class Memento(Renumbered[S]):
    def __init__(
        self,
        servers: Mapping[S, int] | Iterable[S] = (),
        *,
        seed: int = 0,
        hash: str = "mix64",
        bounded_load: float | None = None,
    ) -> None: ...
