from typing import Any, Final

from lbcore.selection.selector import Selector

__test__: Final[dict[str, Any]]

def capsule(selector: Selector[Any]) -> object:
    """A capsule named "lbcore.selection.selector", through which C picks with this selector or wrapper: see lbcore_selection.h.

    A pick costs one call through a pointer more than the algorithm's. A capsule may be used by one thread at a time; make one for
    each thread. Raises TypeError for an object that is no selector.
    """
def get_include() -> str:
    """The folder of lbcore_selection.h, for a C compiler's `-I`."""
