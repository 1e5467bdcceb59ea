from typing import Any, Final, final

from lbcore.selection.algorithm import Algorithm
from lbcore.selection.selector import _S

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class StaticStride(Algorithm[_S]):
    """Weighted round robin by one atomic number: threads that pick at the same time do not wait for each other.

    A pick takes as many tries as the largest weight has means, 10 at most, so O(1) expected. A change costs O(n) before the next
    pick and keeps the number. Memory: 2 bytes per server. Shares are exact to 1/65535 of the largest within 65,535 rounds; less
    smooth than SmoothWRR. As in gRPC, weights above ten times the mean count as ten times the mean, and weights below a hundredth
    of the mean as a hundredth. The seed decides where the sequence begins.
    """
