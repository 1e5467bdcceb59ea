from collections.abc import Iterable, Mapping

from lbcore.selection.selector import S, Selector

class Prequal(Selector[S]):
    def __init__(
        self,
        servers: Mapping[S, int] | Iterable[S] = (),
        *,
        seed: int = 0,
        probes_per_pick: float = 3.0,
        pool: int = 16,
        max_age_s: float = 1.0,
        quantile: float = 0.84,
        removals_per_pick: float = 1.0,
        delta: float = 1.0,
    ) -> None: ...
    def probe(self, server: S, in_flight: int, latency_s: float) -> None: ...
    def to_probe(self) -> list[S]: ...
    def pool(self) -> list[tuple[S, int, float]]: ...
    def set_time(self, now_s: float | None) -> None: ...
