from collections.abc import Iterable, Mapping
from typing import Any, Final, overload

from typing_extensions import disjoint_base

from lbcore.selection.drawn import Drawn
from lbcore.selection.selector import _S, Selector

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

@disjoint_base
class Timed(Drawn[_S]):
    """The base of these: averages are part of the state, by their age."""

    @overload
    def __init__(self, servers: Mapping[_S, int] | Selector[_S] = ..., *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[tuple[_S, int]], *, seed: int = 0) -> None: ...
    @overload
    def __init__(self, servers: Iterable[_S], *, seed: int = 0) -> None: ...
    def set_time(self, now_s: float | None) -> None:
        """Go by the caller's clock, for simulations: it is `now_s` seconds, until told otherwise. None: by the system's again.

        Averages keep their age where the clock is changed for another one. Raises ValueError for a negative time.
        """
