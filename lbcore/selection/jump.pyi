from typing import Any, Final, final

from lbcore.selection.bucketed import Bucketed
from lbcore.selection.selector import _S

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class Jump(Bucketed[_S]):
    """Jump consistent hashing: for servers that are numbered and stay, such as shards. O(ln servers), exactly even.

    The order of the servers gives their numbers; their names play no part. A server added at the end takes only the keys it must
    (with weights that differ, nearly only). Removing any but the last server changes the numbers of all behind it, and moves most
    of their keys. `set_up(server, False)` closes a server temporarily and moves only its keys, to all others; `Anchor` and
    `Memento` allow the removal of any server. Weights and closed servers work by rejection (`lbcore.selection.bucketed`), with
    w_max * servers / W expected tries; if all servers are open and have the same weight, the buckets are the published ones.
    Memory: 12 bytes per server.

    Integer keys are used without hashing, as in other implementations of jump, unless there is a seed; str and bytes are hashed.

    hash          of keys, one of `HASHES`.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    """


def jump_hash(key: int, buckets: int, /) -> int:
    """The bucket of a key among `buckets`, as published. O(ln buckets).

    key      an int of up to 64 bits, used without hashing. Raises OverflowError for others.
    buckets  1 to 2**31. Raises ValueError for others.
    """
