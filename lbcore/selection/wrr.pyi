from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.ordered import Ordered
from lbcore.selection.selector import _S, Selector

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class SmoothWRR(Ordered[_S]):
    """Smooth weighted round robin, the order that nginx picks in.

    A pick is O(1), with weights whose period is beyond 262,144 O(log n) in Tijdeman's order instead, which is smoother.
    A change of weights costs O(period * different weights) before the next pick. Memory: 4 bytes per step of the period.
    """

    @overload
    def __init__(self, servers: Mapping[_S, int] | Selector[_S] = ..., *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[tuple[_S, int]], *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[_S], *, seed: int = 0) -> None: ...
