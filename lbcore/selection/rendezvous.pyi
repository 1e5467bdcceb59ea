from typing import Any, Final, final

from lbcore.selection.keyed import Keyed
from lbcore.selection.selector import _S

__test__: Final[dict[str, Any]]

@final
class Rendezvous(Keyed[_S]):
    """Weighted rendezvous hashing: the least possible movement of keys, exactly proportional shares, no table.

    A server that is removed or closes loses its keys and no other key moves; a server that is added, opens or gains weight takes
    only the keys it must, evenly from all others. The order of servers decides nothing. A pick is O(servers), a
    change O(servers) before the next pick. Memory: 8 bytes per server.

    hash          of keys and names, one of `HASHES`.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    """
