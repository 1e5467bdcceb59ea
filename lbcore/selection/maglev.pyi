from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.keyed import Keyed
from lbcore.selection.selector import _S, Selector

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class Maglev(Keyed[_S]):
    """Maglev hashing: a pick is one load from a table, O(1), and shares are exact to one slot.

    A change of servers or weights moves the keys that it must, and about one in a hundred of the others, more if servers have few
    slots; closing a server moves only its keys, slot by slot to other servers by a second hash. The order of servers
    decides nothing. A change of servers or weights costs O(table * ln(table)) before the next pick (some 2 ms for 65,537
    slots, 0.4 s for 4,194,319); closing and opening copies the table. Memory: 4 bytes per slot, 8 while a server is
    closed; three times as much during the change.

    table_size    number of slots, a prime above the number of servers; None = the first of 65,537, 262,147, 1,048,583, 4,194,319
                  and so on that has 64 slots for each server: 65,536 servers need 4,194,319. A table of another size maps keys
                  differently: when the number of servers crosses such a step (the first is at 1,024), nearly all keys move. A
                  server whose share of the weight is less than a slot may get none.
    hash          of keys and names, one of `HASHES`.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    """

    @overload
    def __init__(
        self,
        servers: Mapping[_S, int] | Selector[_S] = ...,
        *,
        seed: int = 0,
        table_size: int | None = None,
        hash: str = "mix64",
        bounded_load: float | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        servers: Iterable[tuple[_S, int]],
        *,
        seed: int = 0,
        table_size: int | None = None,
        hash: str = "mix64",
        bounded_load: float | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        servers: Iterable[_S],
        *,
        seed: int = 0,
        table_size: int | None = None,
        hash: str = "mix64",
        bounded_load: float | None = None,
    ) -> None: ...

SIZES: Final[tuple[int, ...]]

def is_prime(number: int) -> bool: ...
