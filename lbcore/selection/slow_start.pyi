from collections.abc import Callable
from typing import Any, Final, final

from lbcore.selection.selector import _S, Selector
from lbcore.selection.wrapper import Wrapper

__test__: Final[dict[str, Any]]

@final
class SlowStart(Wrapper[_S]):
    """Ramp up the weights of servers that come.

    selector            a selector, or a wrapper. Those that choose by a key are refused: a ramp would move keys to and fro.
    window_s            seconds from the least weight to the whole one.
    aggression          above 1: faster at first, below 1: slower.
    min_weight_percent  to begin with, 1 to 100.
    clock               a function that gives seconds; None = the monotonic clock.
    A server comes when it is added, set up, un-ejected within, or its weight is no longer 0; those that are there at first have come
    before. A pick costs some ns more than the selector's, while somebody ramps a look at the clock too.
    """

    def __init__(
        self,
        selector: Selector[_S],
        window_s: float = 30.0,
        aggression: float = 1.0,
        min_weight_percent: int = 10,
        clock: Callable[[], float] | None = None,
    ) -> None: ...
    @property
    def window_s(self) -> float: ...
    @property
    def aggression(self) -> float: ...
    @property
    def min_weight_percent(self) -> int: ...
