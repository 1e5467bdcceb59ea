from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.bucketed import Renumbered
from lbcore.selection.selector import _S, Selector

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class Anchor(Renumbered[_S]):
    """AnchorHash: any server may leave and any may come, and no key moves but to or from it
    (with weights that differ, nearly none).

    A pick is O((1 + ln(capacity / servers))**2) at worst on average, O(1) near capacity; a change of servers is O(servers)
    before the next pick, for names, not for the algorithm. Exactly even; weights and closed servers by rejection
    (`lbcore.selection.bucketed`), w_max * servers / W tries expected. Memory: 28 bytes per unit of capacity.

    A new server takes the bucket of the one that was removed last, and its keys in part; `set_up` keeps a server's own.
    What a key maps to depends on the order in which servers came and went: processes that are to agree make the same
    changes in the same order, or pass a `state` on.

    capacity      most servers there will ever be at once; adding beyond it raises ValueError. None = twice as many as there
                  are at the first pick, 16 at least, and when these are used up twice as many anew, which moves most keys.
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
