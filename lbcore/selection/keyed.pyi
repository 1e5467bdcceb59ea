from collections.abc import Iterable, Mapping
from typing import Any, Final, overload

from typing_extensions import disjoint_base

from lbcore.selection.algorithm import Algorithm
from lbcore.selection.selector import _S, Selector

__test__: Final[dict[str, Any]]

@disjoint_base
class Keyed(Algorithm[_S]):
    """The base class of selectors that choose by a key.

    A subclass implements `build`, which makes the tables that depend on servers and weights, `resolve`, which makes those that
    depend on which servers are open, and `seek`, the choice. It implements `choose` too if a pick without bars and bounds is faster.

    hash          of keys and names, one of `HASHES`.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    """

    @overload
    def __init__(
        self,
        servers: Mapping[_S, int] | Selector[_S] = ...,
        *,
        seed: int = 0,
        hash: str = "mix64",
        bounded_load: float | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        servers: Iterable[tuple[_S, int]],
        *,
        seed: int = 0,
        hash: str = "mix64",
        bounded_load: float | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        servers: Iterable[_S],
        *,
        seed: int = 0,
        hash: str = "mix64",
        bounded_load: float | None = None,
    ) -> None: ...
