from typing import Any, Final

from lbcore.selection.selector import Selector

__test__: Final[dict[str, Any]]

def capsule(selector: Selector[Any]) -> object:
    """A capsule named "lbcore.selection.selector", through which C picks with this selector, or wrapper: see `get_include`.

    A pick is one call through a pointer plus the algorithm's cost. One capsule is for one thread at a time; make several for more.
    """
def get_include() -> str:
    """The folder of lbcore_selection.h, for a C compiler's `-I`."""
