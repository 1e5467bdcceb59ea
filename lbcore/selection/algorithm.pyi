from collections.abc import Iterable, Mapping
from typing import Any, Final, overload

from typing_extensions import disjoint_base

from lbcore.selection.selector import _S, Selector

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

ABI: Final[int]
STATE_VERSION: Final[int]
MAX_COST: Final[int]
CHANGES_LIMIT: Final[int]

@disjoint_base
class Shaper(Selector[_S]):
    """The interface by which wrappers change what an algorithm may pick."""

@disjoint_base
class Algorithm(Selector[_S]):
    """Servers with weights, and a way to choose one of them: the base class of all algorithms.

    servers  a mapping from servers to weights (int, 0 to 2**30); or a list, of servers of weight 1, or of pairs (server, weight).
             A server of weight 0 is never picked. In a list, a tuple of an object and a number is such a pair; servers that are
             tuples themselves, as (host, port), need a mapping. For fractions as weights see `scaled`.
    seed     an int; decides random choices, and where a sequence begins. The same seed and the same calls give the same picks in
             every process and on every platform.
    """

    @overload
    def __init__(self, servers: Mapping[_S, int] | Selector[_S] = ..., *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[tuple[_S, int]], *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[_S], *, seed: int = 0) -> None: ...

def restored(kind: type[Any], options: dict[str, Any], state: dict[str, Any]) -> Any:
    """A selector made from its options and state, for pickle and copy."""
