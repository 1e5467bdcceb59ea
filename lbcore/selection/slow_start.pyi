from collections.abc import Callable
from typing import Any, Final, final

from lbcore.selection.selector import _S, Selector
from lbcore.selection.wrapper import Wrapper

__test__: Final[dict[str, Any]]

@final
class SlowStart(Wrapper[_S]):
    """Ramp up the weights of new servers.

    selector            a selector, or a wrapper. Selectors that choose by a key are refused: a ramp would move keys back and forth.
    window_s            seconds from the least weight to the full one.
    aggression          above 1: faster at first, below 1: slower.
    min_weight_percent  of the weight at the start, 1 to 100.
    clock               a function that returns seconds; None = the monotonic clock.
    A server is new when it is added, when `set_up` allows it again, when an inner wrapper ends its ejection, and when its weight is
    no longer 0. The servers that are there when SlowStart is constructed are not new. A pick costs some ns more than the selector's,
    and during a ramp a reading of the clock.
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
