from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.algorithm import Algorithm
from lbcore.selection.selector import _S, Selector

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class EDF(Algorithm[_S]):
    """Weighted round robin that takes any weights and any changes in its stride: a server keeps the part of its wait that is left.

    A pick is O(log n). A change costs O(n) before the next pick, and rounds waits to 2**-32 of a pick; a server that is added
    waits for a part drawn at random, one that was down goes on waiting where it stopped. After W picks every server
    was picked exactly w times. Memory: 40 bytes per server. Less smooth than SmoothWRR: heavy servers come in bunches.
    The seed, modulo 429,496,729, is how many picks are taken beforehand, in O(n log n), so that many who start at once do not
    all begin with the same server.
    """

    @overload
    def __init__(self, servers: Mapping[_S, int] | Selector[_S] = ..., *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[tuple[_S, int]], *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[_S], *, seed: int = 0) -> None: ...
