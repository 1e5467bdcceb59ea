from collections.abc import Iterable, Mapping
from typing import Any, Final, overload

from typing_extensions import disjoint_base

from lbcore.selection.algorithm import Algorithm
from lbcore.selection.selector import _S, Selector

__test__: Final[dict[str, Any]]

@disjoint_base
class Keyed(Algorithm[_S]):
    """The base of these.

    A subclass implements `build`, the tables that servers and weights decide, `resolve`, what follows from who is open, and
    `seek`, the choice; `choose` too when it can do without what `seek` is for.
    """

    @overload
    def __init__(self, servers: Mapping[_S, int] | Selector[_S] = ..., *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[tuple[_S, int]], *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[_S], *, seed: int = 0) -> None: ...
