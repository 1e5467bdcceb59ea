"""Every selector there is, made alike, for the tests of what all of them promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lbcore.selection import (
    EDF,
    P2C,
    LeastConnections,
    LeastTime,
    PeakEWMA,
    Prequal,
    RandomWeighted,
    Selector,
    SmoothWRR,
    StaticStride,
    Tijdeman,
)

Make = Callable[..., Selector[Any]]

# Those that pick without a key.
UNKEYED: dict[str, Make] = {
    "EDF": EDF,
    "LeastConnections": LeastConnections,
    "LeastTime": LeastTime,
    "P2C": P2C,
    "PeakEWMA": PeakEWMA,
    "Prequal": Prequal,
    "RandomWeighted": RandomWeighted,
    "SmoothWRR": SmoothWRR,
    "StaticStride": StaticStride,
    "Tijdeman": Tijdeman,
}
# Those that need one.
KEYED: dict[str, Make] = {}
# Of these, the ones whose shares are proportional to the weights.
WEIGHTED = {"EDF", "P2C", "PeakEWMA", "Prequal", "RandomWeighted", "SmoothWRR", "StaticStride", "Tijdeman"}
# Exact after one period.
EXACT = {"EDF", "SmoothWRR", "Tijdeman"}
ALL: dict[str, Make] = UNKEYED | KEYED


def key(lb: Selector[Any], number: int) -> str | None:
    """A key for those that need one; sibling names on purpose."""
    return f"user-{number}" if type(lb).__name__ in KEYED else None
