from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.drawn import Drawn
from lbcore.selection.selector import _S, Selector

__test__: Final[dict[str, Any]]

@final
class P2C(Drawn[_S]):
    """Of two different servers drawn by weight, the one with fewer requests under lease for its weight.

    Nearly as even as comparing all, at the cost of two; and many who pick without knowing of each other do not all run to
    the same idle server. The busier of the two is never taken. A pick is O(1). A change costs O(n) before the next pick; counts
    are kept. Memory: 8 bytes per server, none where all weights are alike.
    """

    @overload
    def __init__(self, servers: Mapping[_S, int] | Selector[_S] = ..., *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[tuple[_S, int]], *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[_S], *, seed: int = 0) -> None: ...
