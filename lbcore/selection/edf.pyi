from typing import Any, Final, final

from lbcore.selection.algorithm import Algorithm
from lbcore.selection.selector import _S

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class EDF(Algorithm[_S]):
    """Weighted round robin for any weights and frequent changes: at a change, a server keeps the rest of its wait.

    A pick is O(log n). A change costs O(n) before the next pick, and rounds waits to 2**-32 of a pick; a new server waits for
    a random part of its interval, a server that was down continues its wait. After W picks every server was picked exactly w
    times. Memory: 40 bytes per server. Less smooth than SmoothWRR: the picks of heavy servers are bunched.
    The seed, modulo 429,496,729, is the number of picks taken in advance, in O(n log n), so that many processes that start at
    once do not all begin with the same server.
    """
