from typing import Any, Final, final

from lbcore.selection.ordered import Ordered
from lbcore.selection.selector import _S

__test__: Final[dict[str, Any]]

@final
class Tijdeman(Ordered[_S]):
    """Weighted round robin in Tijdeman's order: after any k picks |picks - k*w/W| <= 1 - 1/(2n-2) for each of n servers.

    A pick is O(1), or O(log n) if the period of the weights is above 262,144. A change of weights costs O(period * log n)
    before the next pick. Memory: 4 bytes per step of the period. The proxy's strategy `wrr` has this order.
    """
