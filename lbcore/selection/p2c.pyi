from typing import Any, Final, final

from lbcore.selection.drawn import Drawn
from lbcore.selection.selector import _S

__test__: Final[dict[str, Any]]

@final
class P2C(Drawn[_S]):
    """Of two different servers drawn by weight, the one with fewer requests under lease for its weight.

    Nearly as even as a comparison of all servers, at the cost of two; and many processes that pick independently do not all choose
    the same idle server. The busier of the two is never picked. A pick is O(1). A change costs O(n) before the next pick; counts
    are kept. Memory: 8 bytes per server, none if all weights are equal.
    """
