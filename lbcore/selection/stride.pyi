from collections.abc import Iterable, Mapping
from typing import Any, Final, final, overload

from lbcore.selection.algorithm import Algorithm
from lbcore.selection.selector import _S, Selector

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@final
class StaticStride(Algorithm[_S]):
    """Weighted round robin by one atomic number: threads that pick at once do not wait for each other.

    A pick is O(1) expected: the largest weight over the mean, 10 at most. A change costs O(n) before the next pick and keeps the
    number. Memory: 2 bytes per server. Shares are exact to 1/65535 of the largest within 65,535 rounds; less smooth than
    SmoothWRR. As in gRPC, weights of more than ten times the mean count as ten times, and those of less than a hundredth of it
    as a hundredth. The seed says where the sequence begins.
    """

    @overload
    def __init__(self, servers: Mapping[_S, int] | Selector[_S] = ..., *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[tuple[_S, int]], *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[_S], *, seed: int = 0) -> None: ...
