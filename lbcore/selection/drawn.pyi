from typing import Any, Final

from typing_extensions import disjoint_base

from lbcore.selection.algorithm import Algorithm
from lbcore.selection.selector import _S

__test__: Final[dict[str, Any]]

@disjoint_base
class Drawn(Algorithm[_S]):
    """The base class of selectors that draw servers at random. It keeps the table for draws, which a change rebuilds in O(servers)."""
