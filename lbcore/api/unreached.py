"""Servers that cannot be reached, as far as traffic finds out. No I/O but the region."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from lbcore.state.counters import ServerCounters

Reached = tuple[int, int, int]  # what grows when a server is reached: answers, exchanges that have ended, bytes


class Counters(Protocol):
    """The counters of servers, by slot: those of a `Region`."""

    def connect_errors(self) -> dict[int, int]:
        """Connections that could not be made, of the servers that have any."""

    def server_counters(self, slot: int) -> ServerCounters:
        """All of a server."""


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Since when connections to a server cannot be made, and what it had done until then."""

    since_unix_s: float
    reached: Reached


class Unreached:
    """Follows the connections to servers that cannot be made.

    A server is unreached if a connection to it has failed and none was made until the next look, and stays so until one
    is made. So a server that fails now and then among other requests is none.
    """

    def __init__(self) -> None:
        self._failed: dict[int, int] = {}
        self._doubtful: dict[int, _Trouble] = {}  # failed at the last look
        self._known: dict[int, _Trouble] = {}

    @property
    def since(self) -> dict[int, float]:
        """By slot of a server: the Unix time since when it cannot be reached."""
        return {slot: trouble.since_unix_s for slot, trouble in self._known.items()}

    def look(self, region: Counters) -> bool:
        """Follow the counters. Returns whether other servers than before are unreached. O(servers that fail)."""
        before, self._failed = self._failed, region.connect_errors()
        doubtful, self._doubtful = self._doubtful, {}

        def is_still(slot: int, trouble: _Trouble) -> bool:
            # The slot has another server if it has fewer failures.
            return self._failed.get(slot, 0) >= before[slot] and _reached(region, slot) == trouble.reached

        known = {slot: trouble for slot, trouble in (self._known | doubtful).items() if is_still(slot, trouble)}
        changed = known.keys() != self._known.keys()
        self._known = known
        for slot, count in self._failed.items():
            if count > before.get(slot, 0) and slot not in known:
                self._doubtful[slot] = _Trouble(time.time(), _reached(region, slot))
        return changed


def _reached(region: Counters, slot: int) -> Reached:
    counters = region.server_counters(slot)
    ended = counters.requests - counters.connect_errors - counters.in_flight
    return sum(counters.responses[1:]), max(0, ended), counters.bytes_in
