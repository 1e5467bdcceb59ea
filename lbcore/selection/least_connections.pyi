from collections.abc import Iterable, Mapping

from lbcore.selection.selector import S, Selector

class LeastConnections(Selector[S]):
    def __init__(self, servers: Mapping[S, int] | Iterable[S] = (), *, seed: int = 0, sample: int = 16) -> None: ...
