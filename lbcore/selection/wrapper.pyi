from typing import Any, Final

from typing_extensions import disjoint_base

from lbcore.selection.algorithm import Shaper
from lbcore.selection.selector import _S, Selector

__test__: Final[dict[str, Any]]

STATE_VERSION: Final[int]

@disjoint_base
class Wrapper(Shaper[_S]):
    """The base class of wrappers. An algorithm has at most one chain of wrappers."""

    @property
    def selector(self) -> Selector[_S]: ...
    def __deepcopy__(self, memo: Any) -> Wrapper[_S]: ...

def rebuilt(base: type[Any], options: dict[str, Any], kinds: list[Any], state: dict[str, Any]) -> Any:
    """A selector with its wrappers, innermost first, made from their options and state, for pickle and copy."""
