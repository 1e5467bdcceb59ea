from typing import Any, Final, final

from lbcore.selection.drawn import Drawn
from lbcore.selection.selector import _S

__test__: Final[dict[str, Any]]

@final
class RandomWeighted(Drawn[_S]):
    """Independent random picks: the probability of each server is its share, whatever was picked before.

    Processes that pick independently need no common state and do not synchronise. Over k picks a share p is off by some
    sqrt(p * (1 - p) / k), where round robin is exact. A pick is O(1). A change costs O(n) before the next pick. Memory: 8 bytes
    per server, none if all weights are equal. The same seed gives the same picks.
    """
