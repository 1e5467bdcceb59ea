from typing import Any, Final

from typing_extensions import disjoint_base

from lbcore.selection.keyed import Keyed
from lbcore.selection.selector import _S

__test__: Final[dict[str, Any]]

@disjoint_base
class Bucketed(Keyed[_S]):
    """The base of these. A subclass implements `bucket` and `assign`."""
@disjoint_base
class Renumbered(Bucketed[_S]):
    """Of these, the ones in which any bucket may go and come back, the last that went first.

    A subclass implements `begin`, `take`, `give` and `again`; `bucket` finds buckets in use only.
    """
