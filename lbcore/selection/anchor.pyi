from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.bucketed import Renumbered
from lbcore.selection.selector import _S, Selector

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class Anchor(Renumbered[_S]):
    """AnchorHash: any server may be added or removed, and keys move only to or from it
    (with weights that differ, nearly only).

    A pick is expected to be O((1 + ln(capacity / servers))**2), which is O(1) near capacity; a change of servers is O(servers) before
    the next pick, for the names, not for the algorithm. Shares are exactly even; weights and closed servers work by rejection
    (`lbcore.selection.bucketed`), with w_max * servers / W expected tries. Memory: 28 bytes per unit of capacity.

    A new server takes the bucket of the server that was removed last, and part of its keys; `set_up` keeps a server's bucket.
    The mapping of keys depends on the order in which servers were added and removed: processes that have to agree must make the
    same changes in the same order, or pass on a `state`.

    capacity      the highest number of servers at any time; adding more raises ValueError. None = twice the number at the first
                  pick, at least 16; when that is used up it doubles, which moves most keys.
    hash          of keys, one of `HASHES`.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    """

    @overload
    def __init__(
        self,
        servers: Mapping[_S, int] | Selector[_S] = ...,
        *,
        seed: int = 0,
        capacity: int | None = None,
        hash: str = "mix64",
        bounded_load: float | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        servers: Iterable[tuple[_S, int]],
        *,
        seed: int = 0,
        capacity: int | None = None,
        hash: str = "mix64",
        bounded_load: float | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        servers: Iterable[_S],
        *,
        seed: int = 0,
        capacity: int | None = None,
        hash: str = "mix64",
        bounded_load: float | None = None,
    ) -> None: ...
