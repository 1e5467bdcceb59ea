from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.selector import _S, Selector
from lbcore.selection.timed import Timed

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class Prequal(Timed[_S]):
    """Picks by the answers to probes that the caller sends beside its requests: `to_probe` says whom, `probe` takes the answer.

    probes_per_pick   r_probe: probes asked for with every pick.        max_age_s  a probe that is older is dropped.
    pool              m: probes kept, 2 to 256.                         delta      how often a probe is used beyond need.
    quantile          of requests in flight, above which a server is hot. 0: only these count; 1: only latency does.
    removals_per_pick r_remove: probes dropped with every pick.
    Weights say how often a server is probed, and drawn while fewer than two probes are there. A request that failed
    (`report`, or a lease) takes its server's probe out of the pool. A pick is O(pool), whatever the number of servers. A change
    costs O(n) before the next pick; probes are kept. Memory: 8 bytes per server, more where weights differ.
    """

    @overload
    def __init__(
        self,
        servers: Mapping[_S, int] | Selector[_S] = ...,
        *,
        seed: int = 0,
        probes_per_pick: float = 3.0,
        pool: int = 16,
        max_age_s: float = 1.0,
        quantile: float = 0.84,
        removals_per_pick: float = 1.0,
        delta: float = 1.0,
    ) -> None: ...
    @overload
    def __init__(
        self,
        servers: Iterable[tuple[_S, int]],
        *,
        seed: int = 0,
        probes_per_pick: float = 3.0,
        pool: int = 16,
        max_age_s: float = 1.0,
        quantile: float = 0.84,
        removals_per_pick: float = 1.0,
        delta: float = 1.0,
    ) -> None: ...
    @overload
    def __init__(
        self,
        servers: Iterable[_S],
        *,
        seed: int = 0,
        probes_per_pick: float = 3.0,
        pool: int = 16,
        max_age_s: float = 1.0,
        quantile: float = 0.84,
        removals_per_pick: float = 1.0,
        delta: float = 1.0,
    ) -> None: ...
    def probe(self, server: _S, in_flight: int, latency_s: float) -> None:
        """Take the answer to a probe: the server's requests in flight, and the latency that it expects at that many.

        Raises KeyError, or ValueError for a number that is negative. A server that may not be picked is passed over. O(pool).
        """
    def to_probe(self) -> list[_S]:
        """The servers to probe now, all different, drawn by weight: as many as the picks since the last call ask for.

        At first, and after a pause, as many as the pool holds. Probes that are asked for and not answered are not asked for again.
        """
    def pool(self) -> list[tuple[_S, int, float]]:
        """The probes at hand, oldest first: `(server, in_flight, latency_s)`. Requests in flight count the picks since."""
