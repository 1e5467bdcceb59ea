from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.selector import _S, Selector
from lbcore.selection.timed import Timed

__test__: Final[dict[str, Any]]

@final
class LeastTime(Timed[_S]):
    """The server with the least product of average latency and requests under lease for its weight.

    keep_s     the age from which on an average counts for less: well above the time between two requests to a server.
    failure_s  what a request that failed counts at least. Failures in a row count more and more, so that a server that only
               fails, but fast, does not look fast.
    sample     servers that are compared at most; of more, so many are drawn at random for each pick.
    A server without a sample gets one request at a time while others have samples. Feed it by leases, or `report`. A pick is
    O(sample). A change costs O(n) before the next pick; averages are kept. Memory: 4 bytes per server where some have no weight.
    """

    @overload
    def __init__(
        self,
        servers: Mapping[_S, int] | Selector[_S] = ...,
        *,
        seed: int = 0,
        keep_s: float = 10.0,
        failure_s: float = 1.0,
        sample: int = 16,
    ) -> None: ...
    @overload
    def __init__(
        self,
        servers: Iterable[tuple[_S, int]],
        *,
        seed: int = 0,
        keep_s: float = 10.0,
        failure_s: float = 1.0,
        sample: int = 16,
    ) -> None: ...
    @overload
    def __init__(
        self,
        servers: Iterable[_S],
        *,
        seed: int = 0,
        keep_s: float = 10.0,
        failure_s: float = 1.0,
        sample: int = 16,
    ) -> None: ...
