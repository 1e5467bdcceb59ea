from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.keyed import Keyed
from lbcore.selection.selector import _S, Selector

__test__: Final[dict[str, Any]]

@final
class Rendezvous(Keyed[_S]):
    """Weighted rendezvous hashing: the least movement there can be, exactly proportional shares, no table.

    A server that goes or closes loses its keys and no other key moves; one that comes, opens or gains weight takes only the
    keys it must, and they come from all others alike. The order of servers decides nothing. A pick is O(servers), a
    change O(servers) before the next pick. Memory: 8 bytes per server.

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
