"""Every selector there is, made alike, for the tests of what all of them promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lbcore.selection import (
    EDF,
    P2C,
    Anchor,
    Jump,
    Ketama,
    LeastConnections,
    LeastTime,
    Maglev,
    Memento,
    PeakEWMA,
    Prequal,
    RandomWeighted,
    Rendezvous,
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
KEYED: dict[str, Make] = {
    "Anchor": Anchor,
    "Jump": Jump,
    "Ketama": Ketama,
    "Maglev": Maglev,
    "Memento": Memento,
    "Rendezvous": Rendezvous,
}
# The ones whose shares are proportional to the weights.
WEIGHTED = {
    "EDF", "P2C", "PeakEWMA", "Prequal", "RandomWeighted", "SmoothWRR", "StaticStride", "Tijdeman", *KEYED,
}  # fmt: skip
# Exact after one period.
EXACT = {"EDF", "SmoothWRR", "Tijdeman"}
# Of those by key: the ones of which a change never moves a key between two other servers,
MINIMAL = {"Anchor", "Ketama", "Memento", "Rendezvous"}
# those that removal of any but the last server reshuffles,
RESHUFFLED = {"Jump"}
# and those where the order in which servers came decides.
REORDERED = {"Anchor", "Jump", "Memento"}
ALL: dict[str, Make] = UNKEYED | KEYED


def key(lb: Selector[Any], number: int) -> str | None:
    """A key for those that need one; sibling names on purpose."""
    return f"user-{number}" if type(lb).__name__ in KEYED else None
