from collections.abc import Iterable, Mapping

from lbcore.selection.keyed import Keyed
from lbcore.selection.selector import S

class Rendezvous(Keyed[S]):
    def __init__(
        self,
        servers: Mapping[S, int] | Iterable[S] = (),
        *,
        seed: int = 0,
        hash: str = "mix64",
        bounded_load: float | None = None,
    ) -> None: ...
