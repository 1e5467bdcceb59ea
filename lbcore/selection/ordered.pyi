from typing import Any, Final

from typing_extensions import disjoint_base

from lbcore.selection.algorithm import Algorithm
from lbcore.selection.selector import _S

__test__: Final[dict[str, Any]]

@disjoint_base
class Ordered(Algorithm[_S]):
    """The base class of selectors that pick in a fixed order. A subclass implements `build_cycle`."""
