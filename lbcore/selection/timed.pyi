from typing import Any, Final

from typing_extensions import disjoint_base

from lbcore.selection.drawn import Drawn
from lbcore.selection.selector import _S

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@disjoint_base
class Timed(Drawn[_S]):
    """The base class of selectors that choose by latency. Averages are part of the state, with their age."""

    def set_time(self, now_s: float | None) -> None:
        """Set the time, for simulations: it stays at `now_s` seconds until the next call. None: the system's clock again.

        Averages keep their age when the clock changes. Raises ValueError for a time below 0 or above 1e9.
        """
