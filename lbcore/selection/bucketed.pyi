from typing import Any, Final

from typing_extensions import disjoint_base

from lbcore.selection.keyed import Keyed
from lbcore.selection.selector import _S

__test__: Final[dict[str, Any]]

@disjoint_base
class Bucketed(Keyed[_S]):
    """The base class of selectors that map a key to a bucket. A subclass implements `bucket` and `assign`."""

@disjoint_base
class Renumbered(Bucketed[_S]):
    """The base class of algorithms in which any bucket may be removed, and the last one removed is the first to be added again.

    A subclass implements `begin`, `take`, `give` and `again`; its `bucket` returns only buckets in use.
    """
