"""Selection algorithms: choose among servers, replicas, shards, keys. No I/O; loads an algorithm when it is used.

Every selector is a mapping from servers to weights, with `pick`. See docs/selection.md for which one to take.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not `typing`'s: that takes longer to load than an algorithm
if TYPE_CHECKING:
    from lbcore.errors import NoServerError as NoServerError
    from lbcore.selection.anchor import Anchor as Anchor
    from lbcore.selection.capsules import capsule as capsule
    from lbcore.selection.capsules import get_include as get_include
    from lbcore.selection.consistent import Consistent as Consistent
    from lbcore.selection.edf import EDF as EDF
    from lbcore.selection.hashing import HASHES as HASHES
    from lbcore.selection.hashing import hash_of as hash_of
    from lbcore.selection.jump import Jump as Jump
    from lbcore.selection.jump import jump_hash as jump_hash
    from lbcore.selection.ketama import Ketama as Ketama
    from lbcore.selection.lease import Lease as Lease
    from lbcore.selection.least_connections import LeastConnections as LeastConnections
    from lbcore.selection.least_time import LeastTime as LeastTime
    from lbcore.selection.maglev import Maglev as Maglev
    from lbcore.selection.memento import Memento as Memento
    from lbcore.selection.outlier import OutlierDetector as OutlierDetector
    from lbcore.selection.p2c import P2C as P2C
    from lbcore.selection.panic import PanicThreshold as PanicThreshold
    from lbcore.selection.peak_ewma import PeakEWMA as PeakEWMA
    from lbcore.selection.prequal import Prequal as Prequal
    from lbcore.selection.random_weighted import RandomWeighted as RandomWeighted
    from lbcore.selection.rendezvous import Rendezvous as Rendezvous
    from lbcore.selection.selector import ABI as ABI
    from lbcore.selection.selector import Selector as Selector
    from lbcore.selection.slow_start import SlowStart as SlowStart
    from lbcore.selection.sticky import StickyCodec as StickyCodec
    from lbcore.selection.stride import StaticStride as StaticStride
    from lbcore.selection.subsetting import subset as subset
    from lbcore.selection.tijdeman import Tijdeman as Tijdeman
    from lbcore.selection.wrapper import Wrapper as Wrapper
    from lbcore.selection.wrr import SmoothWRR as SmoothWRR

# Where each name is defined.
_HOMES = {
    "ABI": "lbcore.selection.selector",
    "Anchor": "lbcore.selection.anchor",
    "Consistent": "lbcore.selection.consistent",
    "EDF": "lbcore.selection.edf",
    "HASHES": "lbcore.selection.hashing",
    "Jump": "lbcore.selection.jump",
    "Ketama": "lbcore.selection.ketama",
    "Lease": "lbcore.selection.lease",
    "LeastConnections": "lbcore.selection.least_connections",
    "LeastTime": "lbcore.selection.least_time",
    "Maglev": "lbcore.selection.maglev",
    "Memento": "lbcore.selection.memento",
    "NoServerError": "lbcore.errors",
    "OutlierDetector": "lbcore.selection.outlier",
    "P2C": "lbcore.selection.p2c",
    "PanicThreshold": "lbcore.selection.panic",
    "PeakEWMA": "lbcore.selection.peak_ewma",
    "Prequal": "lbcore.selection.prequal",
    "RandomWeighted": "lbcore.selection.random_weighted",
    "Rendezvous": "lbcore.selection.rendezvous",
    "Selector": "lbcore.selection.selector",
    "SlowStart": "lbcore.selection.slow_start",
    "SmoothWRR": "lbcore.selection.wrr",
    "StaticStride": "lbcore.selection.stride",
    "StickyCodec": "lbcore.selection.sticky",
    "Tijdeman": "lbcore.selection.tijdeman",
    "Wrapper": "lbcore.selection.wrapper",
    "capsule": "lbcore.selection.capsules",
    "get_include": "lbcore.selection.capsules",
    "hash_of": "lbcore.selection.hashing",
    "jump_hash": "lbcore.selection.jump",
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
