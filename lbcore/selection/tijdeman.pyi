from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.ordered import Ordered
from lbcore.selection.selector import _S, Selector

__test__: Final[dict[str, Any]]

@final
class Tijdeman(Ordered[_S]):
    """Weighted round robin in Tijdeman's order: after any k picks |picks - k*w/W| <= 1 - 1/(2n-2) for each of n servers.

    A pick is O(1), with weights whose period is beyond 262,144 O(log n). A change of weights costs O(period * log n)
    before the next pick. Memory: 4 bytes per step of the period. The order of lbcore's own `wrr`.
    """

    @overload
    def __init__(self, servers: Mapping[_S, int] | Selector[_S] = ..., *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[tuple[_S, int]], *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[_S], *, seed: int = 0) -> None: ...
