from collections.abc import Iterable, Mapping
from typing import Any, Final, overload

from typing_extensions import disjoint_base

from lbcore.selection.algorithm import Algorithm
from lbcore.selection.selector import _S, Selector

__test__: Final[dict[str, Any]]

@disjoint_base
class Drawn(Algorithm[_S]):
    """The base of these: it keeps the table that servers are drawn by, which a change makes anew in O(servers)."""

    @overload
    def __init__(self, servers: Mapping[_S, int] | Selector[_S] = ..., *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[tuple[_S, int]], *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[_S], *, seed: int = 0) -> None: ...
