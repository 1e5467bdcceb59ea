from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.bucketed import Bucketed
from lbcore.selection.selector import _S, Selector

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class Jump(Bucketed[_S]):
    """Jump consistent hashing: for servers that are numbered and stay, as shards do. O(ln servers), exactly even.

    The servers' order is their numbers, their names play no part. A server added last takes only the keys it must (with
    weights that differ, nearly). To remove any other one than the last moves the numbers of all behind it, and most of their
    keys: `set_up(server, False)` closes one for the time being, which moves only its keys, to all others; `Anchor` and
    `Memento` let any server go. Weights and closed servers are passed over by rejection (`lbcore.selection.bucketed`),
    w_max * servers / W tries expected; with all servers open and of one weight, the buckets are the published ones.
    Memory: 12 bytes per server.

    Integer keys are taken as they are, as others do who hash with jump, unless there is a seed; str and bytes are hashed.

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

def jump_hash(key: int, buckets: int, /) -> int:
    """The bucket of a key among `buckets`, as published. O(ln buckets).

    key      an int of up to 64 bits, taken as it is.
    buckets  1 to 2**31. Raises ValueError for others.
    """
