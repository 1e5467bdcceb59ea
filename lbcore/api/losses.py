"""Which of what an instance writes or sends is being lost now: counters that have risen lately. No I/O."""

from __future__ import annotations

import time
from collections.abc import Mapping

LATELY_S = 60.0


class Losses:
    """Follows counters of what was lost, which never say by themselves whether that goes on."""

    def __init__(self) -> None:
        self._counts: Mapping[str, int] = {}
        self._risen: dict[str, float] = {}

    def look(self, counts: Mapping[str, int]) -> None:
        """Follow the counters, by name."""
        now = time.monotonic()
        for name, count in counts.items():
            if count > self._counts.get(name, 0):
                self._risen[name] = now
        self._counts = dict(counts)

    @property
    def going_on(self) -> dict[str, int]:
        """What was lost within the last minute, by name, and how much of it in all."""
        now = time.monotonic()
        return {name: self._counts[name] for name, at in self._risen.items() if now - at < LATELY_S}
