from typing import Any, Final, final

from lbcore.selection.keyed import Keyed
from lbcore.selection.selector import _S

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class Consistent(Keyed[_S]):
    """Weighted consistent hashing for any number of servers: O(1) expected beyond 256 of them.

    A server that is removed, closes or loses weight gives up the keys that it must, evenly to all others; a server that is added,
    opens or gains weight takes the keys that it must, evenly from all others; no key moves between two servers that stay the same.

    Up to 256 servers this holds for any number of changes at once: a key moves from one server to another only if the weight of the
    second has grown in proportion to that of the first. A pick is O(servers), some 2 to 4 ns for each.

    Above, it holds while the size of the table stays the same. The table has 8 to 16 places for each server, more for a server
    above the average weight; its size and the unit of weight are powers of two. When one of them crosses a power of two, about once
    per doubling of the servers or of the average weight, half of the keys move; between 256 and 257 servers nearly all move.

    Shares are proportional to the weights; the order of servers decides nothing. A change of servers or weights is
    O(servers log servers) before the next pick. Memory: 16 bytes per server; above 256 servers 64 to 128 more, above 65,536
    16 to 32 more.

    hash          of keys and names, one of `HASHES`.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    """
