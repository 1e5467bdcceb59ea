from collections.abc import Callable

from lbcore.selection.selector import S, Selector
from lbcore.selection.wrapper import Wrapper

class SlowStart(Wrapper[S]):
    def __init__(
        self,
        selector: Selector[S] | Wrapper[S],
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
    def ramp(self, server: S) -> int: ...
