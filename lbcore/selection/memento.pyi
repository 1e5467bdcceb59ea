from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.bucketed import Renumbered
from lbcore.selection.selector import _S, Selector

__test__: Final[dict[str, Any]]

@final
class Memento(Renumbered[_S]):
    """MementoHash: any server may leave and any may come, without a capacity, and no key moves but to or from it
    (with weights that differ, nearly none).

    A pick is O(ln n + ln(n / servers)**2), n being servers and the buckets of those that were removed and not replaced; a
    change of servers is O(servers) before the next pick, for names, not for the algorithm. Exactly even; weights and closed
    servers by rejection (`lbcore.selection.bucketed`), w_max * servers / W tries expected. Memory: 16 bytes per bucket.

    A new server takes the bucket of the one that was removed last, and its keys in part; `set_up` keeps a server's own.
    What a key maps to depends on the order in which servers came and went: processes that are to agree make the same
    changes in the same order, or pass a `state` on.

    hash          of keys, one of `HASHES`.
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
