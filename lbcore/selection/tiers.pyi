from collections.abc import Iterable, Mapping
from typing import Any, Final, final

from lbcore.selection.selector import _S, Selector
from lbcore.selection.wrapper import Wrapper

__test__: Final[dict[str, Any]]

@final
class Tiers(Wrapper[_S]):
    """Pick from the first tier of servers, and from later tiers as far as too little of it is up.

    selector          a selector, or a wrapper; a server that it excludes, as an ejection does, counts as down. Selectors that choose
                      by a key are refused: keys would move back and forth with the health of other servers.
    tiers             a mapping from servers to tiers, ints of 0 and more, or pairs of these; 0 comes first. Servers that it does not
                      name form one more tier, after all others. For zones: 0 for the servers of the own zone, 1 for the rest.
    overprovisioning  how much more than its share a tier can take, 1 to 100 (1.4): with 1.4 a tier of which 72 % is up still takes all.
    A pick costs as much as the selector's, plus some ns; a change is O(servers). Within a tier, shares follow the weights.
    """

    def __init__(
        self,
        selector: Selector[_S],
        tiers: Mapping[_S, int] | Iterable[tuple[_S, int]],
        *,
        overprovisioning: float = 1.4,
    ) -> None: ...
    def set_tier(self, server: _S, tier: int) -> None:
        """Put a server into another tier. The server need not be added yet. Raises TypeError or ValueError."""
    @property
    def overprovisioning(self) -> float: ...
    @property
    def loads(self) -> dict[int, int]:
        """The part of all picks that each tier gets now, in percent, by tier."""
