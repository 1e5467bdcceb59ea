from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.selector import _S, Selector
from lbcore.selection.timed import Timed

__test__: Final[dict[str, Any]]

@final
class PeakEWMA(Timed[_S]):
    """Of two different servers drawn by weight, the one with the lower product of latency and requests in flight.

    decay_s    tau, the time over which an average decays; well above the time between two requests to a server.
    failure_s  the least latency that a failed request counts as. Repeated failures count more and more, so that a server that
               fails fast does not look fast.
    The average follows a peak at once and decays slowly. A server without samples gets one request at a time while others have
    samples. Latencies come from leases and from `report`. A pick is O(1); a change costs O(n) before the next pick; averages are
    kept. Memory: 8 bytes per server, none if all weights are equal.
    """

    @overload
    def __init__(
        self,
        servers: Mapping[_S, int] | Selector[_S] = ...,
        *,
        seed: int = 0,
        decay_s: float = 10.0,
        failure_s: float = 1.0,
    ) -> None: ...
    @overload
    def __init__(
        self,
        servers: Iterable[tuple[_S, int]],
        *,
        seed: int = 0,
        decay_s: float = 10.0,
        failure_s: float = 1.0,
    ) -> None: ...
    @overload
    def __init__(
        self,
        servers: Iterable[_S],
        *,
        seed: int = 0,
        decay_s: float = 10.0,
        failure_s: float = 1.0,
    ) -> None: ...
