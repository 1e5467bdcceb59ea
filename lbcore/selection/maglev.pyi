from collections.abc import Iterable, Mapping

from lbcore.selection.keyed import Keyed
from lbcore.selection.selector import S

class Maglev(Keyed[S]):
    def __init__(
        self,
        servers: Mapping[S, int] | Iterable[S] = (),
        *,
        seed: int = 0,
        table_size: int | None = None,
        hash: str = "mix64",
        bounded_load: float | None = None,
    ) -> None: ...
