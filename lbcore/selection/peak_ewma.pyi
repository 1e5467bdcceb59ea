from collections.abc import Iterable, Mapping

from lbcore.selection.selector import S, Selector

class PeakEWMA(Selector[S]):
    def __init__(
        self,
        servers: Mapping[S, int] | Iterable[S] = (),
        *,
        seed: int = 0,
        decay_s: float = 10.0,
        failure_s: float = 1.0,
    ) -> None: ...
    def latency_s(self, server: S) -> float | None: ...
    def set_time(self, now_s: float | None) -> None: ...
