from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.keyed import Keyed
from lbcore.selection.selector import _S, Selector

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class Ketama(Keyed[_S]):
    """Ring hashing. The next point is found in O(1) expected, O(log points) at worst, through an index by upper bits.

    A server that is removed or closes loses its keys and no other key moves; a server that is added or gains weight gets points,
    and only the keys before these. (With compatible="uhashring" other keys move too, because there the number of a server's points
    depends on all servers.) Shares are near the weights: with 160 points within 8 % (one standard deviation). With nginx's and
    lbcore's own points the order of servers decides nothing. A change of servers or weights is O(points) before the next pick;
    closing and opening copies the points. Memory: 12 bytes per point, 24 while a server is closed.

    vnodes        points for each unit of weight (160). If that makes more than 16,777,216 in all, each server gets half of its
                  points, a quarter, and so on, but at least one.
    compatible    None; "nginx": the ring of nginx, with servers named as in its configuration (HOST:PORT) and 160 vnodes;
                  "uhashring": the ring of uhashring, whose vnodes default to 40. Both hash keys as the original does, integers as
                  their decimal digits, and bytes as they are (uhashring itself hashes their `repr`). With more than 16,777,216
                  points a pick raises ValueError.
    hash          of keys and names, one of `HASHES`; not to be set with `compatible`, which decides it.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    overflow      where a key of a full server goes. "walk": to the next point whose server has room, as in the paper;
                  "jump": to other places of the ring, drawn by the key, so that a full server does not fill its neighbour.
    """

    @overload
    def __init__(
        self,
        servers: Mapping[_S, int] | Selector[_S] = ...,
        *,
        seed: int = 0,
        vnodes: int | None = None,
        compatible: str | None = None,
        hash: str = "mix64",
        bounded_load: float | None = None,
        overflow: str = "walk",
    ) -> None: ...
    @overload
    def __init__(
        self,
        servers: Iterable[tuple[_S, int]],
        *,
        seed: int = 0,
        vnodes: int | None = None,
        compatible: str | None = None,
        hash: str = "mix64",
        bounded_load: float | None = None,
        overflow: str = "walk",
    ) -> None: ...
    @overload
    def __init__(
        self,
        servers: Iterable[_S],
        *,
        seed: int = 0,
        vnodes: int | None = None,
        compatible: str | None = None,
        hash: str = "mix64",
        bounded_load: float | None = None,
        overflow: str = "walk",
    ) -> None: ...
    def points(self) -> list[tuple[int, _S]]:
        """All points, as pairs of hash and server, in order."""
