from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.selector import _S, Selector
from lbcore.selection.timed import Timed

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class Prequal(Timed[_S]):
    """Picks by the answers to probes, which the caller sends beside its requests: `to_probe` says to which servers, `probe` takes answers.

    probes_per_pick    r_probe: probes to send for every pick.
    pool               m: the size of the pool, 2 to 256.
    max_age_s          older probes are dropped.
    quantile           of requests in flight, above which a server is hot. With 0 only these count, with 1 only latency.
    removals_per_pick  r_remove: probes removed with every pick.
    delta              how much more often than necessary a probe is used.
    Weights decide how often a server is probed, and the random picks with fewer than two probes. A request that failed
    (`report`, or a lease) removes its server's probe from the pool. A pick is O(pool), whatever the number of servers. A change
    costs O(n) before the next pick; probes are kept. Memory: 8 bytes per server, more if weights differ.
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
        """Take the answer to a probe: the server's requests in flight, and the latency that it expects with that many.

        Ignores a server that may not be picked. Raises KeyError, or ValueError for numbers below 0 or too large. O(pool).
        """
    def to_probe(self) -> list[_S]:
        """The servers to probe now, all different, drawn by weight: as many as the picks since the last call require.

        The first call, and a call after a pause, returns as many as the pool holds. Probes without an answer are not repeated.
        """
    def pool(self) -> list[tuple[_S, int, float]]:
        """The probes in the pool, oldest first: `(server, in_flight, latency_s)`. `in_flight` includes the picks since."""
