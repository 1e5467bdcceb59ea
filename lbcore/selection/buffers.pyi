from array import array
from typing import Any

from lbcore.selection.selector import Selector

def fill_buffer(selector: Selector[Any], wanted: Any, out: Any) -> array[int]: ...
