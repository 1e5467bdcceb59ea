from typing import Any, Final, final

from lbcore.selection.selector import _S, Selector
from lbcore.selection.wrapper import Wrapper

__test__: Final[dict[str, Any]]

@final
class PanicThreshold(Wrapper[_S]):
    """Ignore health while less than `percent` of the weight is up.

    selector  a selector, or a wrapper; servers that it excludes, as an ejection does, count as down.
    percent   0 to 100; 0 = never.
    A pick costs as much as the selector's, plus some ns. Servers of weight 0 are never picked.
    """

    def __init__(self, selector: Selector[_S], percent: float = 50) -> None: ...
    @property
    def percent(self) -> float: ...
