from typing import Any, Final, final

from lbcore.selection.bucketed import Renumbered
from lbcore.selection.selector import _S

__test__: Final[dict[str, Any]]

@final
class Memento(Renumbered[_S]):
    """MementoHash: any server may be added or removed, without a capacity, and keys move only to or from it
    (with weights that differ, nearly only).

    A pick is O(ln n + ln(n / servers)**2), where n counts the servers and the buckets of removed servers that were not replaced; a
    change of servers is O(servers) before the next pick, for the names, not for the algorithm. Shares are exactly even; weights and
    closed servers work by rejection (`lbcore.selection.bucketed`), with w_max * servers / W expected tries. Memory: 16 bytes per
    bucket.

    A new server takes the bucket of the server that was removed last, and part of its keys; `set_up` keeps a server's bucket.
    The mapping of keys depends on the order in which servers were added and removed: processes that have to agree must make the
    same changes in the same order, or pass on a `state`.

    hash          of keys, one of `HASHES`.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    """
