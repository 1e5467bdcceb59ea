from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.keyed import Keyed
from lbcore.selection.selector import _S, Selector

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class Consistent(Keyed[_S]):
    """Weighted consistent hashing for any number of servers: O(1) expected beyond 256 of them.

    A server that goes, closes or loses weight gives up the keys that it must, to all others alike; one that comes, opens or gains
    weight takes what it must, from all others alike; no key moves between two servers that stay as they are.

    Among 256 servers and fewer that is all, whatever changes at once: a key moves from one server to another only if the weight of
    the second has grown in proportion to the first one's. A pick is O(servers), some 2 to 4 ns each.

    Among more it holds as long as the number of places stays what it is: 8 to 16 times the servers' weights, each in units of the
    average one and rounded up, and a power of two, as is the unit. When one of the two crosses its next power of two, about once per
    doubling of the servers or of the average weight, half of the keys move, and between 256 and 257 servers nearly all.

    Shares are proportional to the weights; the order of servers decides nothing. A change of servers or weights is
    O(servers log servers) before the next pick. Memory: 16 bytes per server, beyond 256 of them 64 to 128 more, beyond 65,536
    16 to 32 more.

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
