from typing import Any, Final, final

from lbcore.selection.ordered import Ordered
from lbcore.selection.selector import _S

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class SmoothWRR(Ordered[_S]):
    """Smooth weighted round robin, in the order of nginx.

    A pick is O(1); if the period of the weights is above 262,144, it is O(log n) in Tijdeman's order instead, which is smoother.
    A change of weights costs O(period * different weights) before the next pick. Memory: 4 bytes per step of the period.
    """
