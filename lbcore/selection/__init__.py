"""Selection algorithms: choose among servers, replicas, shards, keys. No I/O; loads an algorithm when it is used.

Every selector is a mapping from servers to weights, with `pick`. See docs/selection.md for which one to take.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not `typing`'s: that takes longer to load than an algorithm
if TYPE_CHECKING:
    from lbcore.errors import NoServerError as NoServerError
    from lbcore.selection.capsules import capsule as capsule
    from lbcore.selection.capsules import get_include as get_include
    from lbcore.selection.hashing import HASHES as HASHES
    from lbcore.selection.hashing import hash_of as hash_of
    from lbcore.selection.lease import Lease as Lease
    from lbcore.selection.outlier import OutlierDetector as OutlierDetector
    from lbcore.selection.panic import PanicThreshold as PanicThreshold
    from lbcore.selection.selector import ABI as ABI
    from lbcore.selection.selector import Selector as Selector
    from lbcore.selection.slow_start import SlowStart as SlowStart
    from lbcore.selection.sticky import StickyCodec as StickyCodec
    from lbcore.selection.subsetting import subset as subset
    from lbcore.selection.tijdeman import Tijdeman as Tijdeman
    from lbcore.selection.wrapper import Wrapper as Wrapper
    from lbcore.selection.wrr import SmoothWRR as SmoothWRR

# Where each name is defined.
_HOMES = {
    "NoServerError": "lbcore.errors",
    "ABI": "lbcore.selection.selector",
    "HASHES": "lbcore.selection.hashing",
    "Lease": "lbcore.selection.lease",
    "OutlierDetector": "lbcore.selection.outlier",
    "PanicThreshold": "lbcore.selection.panic",
    "Selector": "lbcore.selection.selector",
    "SlowStart": "lbcore.selection.slow_start",
    "SmoothWRR": "lbcore.selection.wrr",
    "StickyCodec": "lbcore.selection.sticky",
    "Tijdeman": "lbcore.selection.tijdeman",
    "Wrapper": "lbcore.selection.wrapper",
    "capsule": "lbcore.selection.capsules",
    "hash_of": "lbcore.selection.hashing",
    "get_include": "lbcore.selection.capsules",
    "subset": "lbcore.selection.subsetting",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    """Import an algorithm when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import sys

    __import__(_HOMES[name])  # not `importlib`, which loads more than an algorithm
    found: object = getattr(sys.modules[_HOMES[name]], name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
