from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.selector import _S, Selector
from lbcore.selection.timed import Timed

__test__: Final[dict[str, Any]]

@final
class LeastTime(Timed[_S]):
    """The server with the least product of average latency and requests under lease for its weight.

    keep_s     the age at which an average starts to decay; well above the time between two requests to a server.
    failure_s  the least latency that a failed request counts as. Repeated failures count more and more, so that a server that
               fails fast does not look fast.
    sample     the number of servers to compare; if there are more, a random sample of this size is drawn for each pick.
    A server without samples gets one request at a time while others have samples. Latencies come from leases and from `report`. A
    pick is O(sample). A change costs O(n) before the next pick; averages are kept. Memory: 4 bytes per server if some have no weight.
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
