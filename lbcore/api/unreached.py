"""Servers that cannot be reached, as far as traffic finds out. No I/O but the region."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lbcore.state.counters import ServerCounters
from lbcore.state.region import Region

Reached = tuple[int, int, int]  # what grows when a server is reached: answers, exchanges that have ended, bytes


@dataclass(slots=True)
class _Trouble:
    """Of one server: since when no connection to it could be made, and what it had done until then."""

    since_unix_s: float
    reached: Reached


class Unreached:
    """Follows the connections to servers that cannot be made.

    A server is unreached from a look in which connections to it have failed and none was made, until one is made.
    """

    def __init__(self) -> None:
        self._failed: dict[int, int] = {}
        self._reached: dict[int, Reached] = {}
        self._known: dict[int, _Trouble] = {}

    @property
    def since(self) -> dict[int, float]:
        """By slot of a server: the Unix time since when it cannot be reached."""
        return {slot: trouble.since_unix_s for slot, trouble in self._known.items()}

    def look(self, region: Region) -> bool:
        """Follow the counters. Returns whether other servers than before are unreached. O(servers with failures)."""
        failed, before, changed = region.connect_errors(), self._failed, False
        self._failed = failed
        for slot, count in failed.items():
            reached = _reached(region.server_counters(slot))
            known = self._known.get(slot)
            if known is not None and reached != known.reached:  # also if the slot has another server now
                del self._known[slot]
                changed = True
            elif known is None and count > before.get(slot, 0) and reached == self._reached.get(slot, (0, 0, 0)):
                self._known[slot] = _Trouble(time.time(), reached)
                changed = True
            self._reached[slot] = reached
        for slot in self._known.keys() - failed.keys():
            del self._known[slot]
            changed = True
        self._reached = {slot: count for slot, count in self._reached.items() if slot in failed}
        return changed


def _reached(counters: ServerCounters) -> Reached:
    ended = counters.requests - counters.connect_errors - counters.in_flight
    return sum(counters.responses[1:]), max(0, ended), counters.bytes_in
