from array import array
from typing import Any, Final

from lbcore.selection.selector import Selector

__test__: Final[dict[str, Any]]

def fill_buffer(selector: Selector[Any], wanted: Any, out: Any) -> array[int]:
    """`Selector.pick_many`."""
