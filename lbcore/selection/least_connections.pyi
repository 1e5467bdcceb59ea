from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.drawn import Drawn
from lbcore.selection.selector import _S, Selector

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class LeastConnections(Drawn[_S]):
    """The server with the fewest requests under lease for its weight.

    sample  servers that are compared at most; of more, so many are drawn at random for each pick.
    For requests of unequal length, where counting requests says little. Only leases of this selector count.
    A pick is O(sample), less when somebody is idle. A change costs O(n) before the next pick; counts are kept. Memory: 4 bytes
    per server where some have no weight.
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
