from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.drawn import Drawn
from lbcore.selection.selector import _S, Selector

__test__: Final[dict[str, Any]]

@final
class RandomWeighted(Drawn[_S]):
    """Every pick is drawn anew: a server comes with the probability of its share, whatever came before.

    Needs no common state among many who pick, and never falls into step with them; over k picks a share p is off by some
    sqrt(p * (1 - p) / k), where round robin is exact. A pick is O(1). A change costs O(n) before the next pick. Memory: 8 bytes
    per server, none where all weights are alike. The same seed gives the same picks.
    """

    @overload
    def __init__(self, servers: Mapping[_S, int] | Selector[_S] = ..., *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[tuple[_S, int]], *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[_S], *, seed: int = 0) -> None: ...
