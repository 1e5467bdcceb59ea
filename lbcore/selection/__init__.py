"""Selection algorithms: choose among servers, replicas, shards, keys. No I/O; an algorithm is loaded at its first use.

Every `Selector`, an algorithm or a wrapper around one, is a mapping from servers to weights, with `pick`.
docs/selection.md says which algorithm suits which purpose.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not imported from `typing`, which takes longer to load than an algorithm
if TYPE_CHECKING:
    from lbcore.errors import NoServerError as NoServerError
    from lbcore.selection.algorithm import ABI as ABI
    from lbcore.selection.algorithm import Algorithm as Algorithm
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
    from lbcore.selection.limit import InFlightLimit as InFlightLimit
    from lbcore.selection.maglev import Maglev as Maglev
    from lbcore.selection.memento import Memento as Memento
    from lbcore.selection.outlier import OutlierDetector as OutlierDetector
    from lbcore.selection.p2c import P2C as P2C
    from lbcore.selection.panic import PanicThreshold as PanicThreshold
    from lbcore.selection.peak_ewma import PeakEWMA as PeakEWMA
    from lbcore.selection.prequal import Prequal as Prequal
    from lbcore.selection.random_weighted import RandomWeighted as RandomWeighted
    from lbcore.selection.rendezvous import Rendezvous as Rendezvous
    from lbcore.selection.retry import Attempt as Attempt
    from lbcore.selection.retry import Retry as Retry
    from lbcore.selection.retry import RetryBudget as RetryBudget
    from lbcore.selection.selector import Key as Key
    from lbcore.selection.selector import Selector as Selector
    from lbcore.selection.slow_start import SlowStart as SlowStart
    from lbcore.selection.stats import ServerStats as ServerStats
    from lbcore.selection.sticky import StickyCodec as StickyCodec
    from lbcore.selection.stride import StaticStride as StaticStride
    from lbcore.selection.subsetting import subset as subset
    from lbcore.selection.tiers import Tiers as Tiers
    from lbcore.selection.tijdeman import Tijdeman as Tijdeman
    from lbcore.selection.weights import scaled as scaled
    from lbcore.selection.wrapper import Wrapper as Wrapper
    from lbcore.selection.wrr import SmoothWRR as SmoothWRR

# Where each name is defined.
_HOMES = {
    "ABI": "lbcore.selection.algorithm",
    "Algorithm": "lbcore.selection.algorithm",
    "Anchor": "lbcore.selection.anchor",
    "Attempt": "lbcore.selection.retry",
    "Consistent": "lbcore.selection.consistent",
    "EDF": "lbcore.selection.edf",
    "HASHES": "lbcore.selection.hashing",
    "InFlightLimit": "lbcore.selection.limit",
    "Jump": "lbcore.selection.jump",
    "Ketama": "lbcore.selection.ketama",
    "Key": "lbcore.selection.selector",
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
    "Retry": "lbcore.selection.retry",
    "RetryBudget": "lbcore.selection.retry",
    "Selector": "lbcore.selection.selector",
    "ServerStats": "lbcore.selection.stats",
    "SlowStart": "lbcore.selection.slow_start",
    "SmoothWRR": "lbcore.selection.wrr",
    "StaticStride": "lbcore.selection.stride",
    "StickyCodec": "lbcore.selection.sticky",
    "Tiers": "lbcore.selection.tiers",
    "Tijdeman": "lbcore.selection.tijdeman",
    "Wrapper": "lbcore.selection.wrapper",
    "capsule": "lbcore.selection.capsules",
    "get_include": "lbcore.selection.capsules",
    "hash_of": "lbcore.selection.hashing",
    "jump_hash": "lbcore.selection.jump",
    "scaled": "lbcore.selection.weights",
    "subset": "lbcore.selection.subsetting",
}
__all__ = [
    "ABI",
    "EDF",
    "HASHES",
    "P2C",
    "Algorithm",
    "Anchor",
    "Attempt",
    "Consistent",
    "InFlightLimit",
    "Jump",
    "Ketama",
    "Key",
    "Lease",
    "LeastConnections",
    "LeastTime",
    "Maglev",
    "Memento",
    "NoServerError",
    "OutlierDetector",
    "PanicThreshold",
    "PeakEWMA",
    "Prequal",
    "RandomWeighted",
    "Rendezvous",
    "Retry",
    "RetryBudget",
    "Selector",
    "ServerStats",
    "SlowStart",
    "SmoothWRR",
    "StaticStride",
    "StickyCodec",
    "Tiers",
    "Tijdeman",
    "Wrapper",
    "capsule",
    "get_include",
    "hash_of",
    "jump_hash",
    "scaled",
    "subset",
]


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
