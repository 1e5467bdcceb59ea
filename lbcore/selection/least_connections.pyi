from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.drawn import Drawn
from lbcore.selection.selector import _S, Selector

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class LeastConnections(Drawn[_S]):
    """The server with the fewest requests under lease for its weight.

    sample  the number of servers to compare; if there are more, a random sample of this size is drawn for each pick.
    For requests of unequal duration, whose number says little. Only leases of this selector count.
    A pick is O(sample), and less if an idle server is found. A change costs O(n) before the next pick; counts are kept. Memory:
    4 bytes per server if some have no weight.
    """

    @overload
    def __init__(
        self,
        servers: Mapping[_S, int] | Selector[_S] = ...,
        *,
        seed: int = 0,
        sample: int = 16,
    ) -> None: ...
    @overload
    def __init__(self, servers: Iterable[tuple[_S, int]], *, seed: int = 0, sample: int = 16) -> None: ...
    @overload
    def __init__(self, servers: Iterable[_S], *, seed: int = 0, sample: int = 16) -> None: ...
