from collections.abc import Iterable, Mapping

from lbcore.selection.keyed import Keyed
from lbcore.selection.selector import S

class Ketama(Keyed[S]):
    def __init__(
        self,
        servers: Mapping[S, int] | Iterable[S] = (),
        *,
        seed: int = 0,
        vnodes: int | None = None,
        compatible: str | None = None,
        hash: str = "mix64",
        bounded_load: float | None = None,
        overflow: str = "walk",
    ) -> None: ...
    def points(self) -> list[tuple[int, S]]: ...
