"""What this instance has found out about servers and breakers, and what follows from what others have. No I/O."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from lbcore.fleet.board import Said, say
from lbcore.state.region import Region

APART = "|"  # between the name of a middleware and its place
AGREE_NS = 2_000_000_000  # ends of one opening that are no further apart are the same


class Breaker(Protocol):
    """A circuit breaker: see `lbcore.middleware.circuit_breaker`."""

    def open_until(self, place: str) -> int:
        """The monotonic time in ns until which it is open there; 0: it is not."""

    def open_at(self, place: str, until_ns: int) -> int:
        """Open it there until then at most. Returns until when it is open by that; 0: it was not on standby."""


class Hints(Protocol):
    """The ejections of this instance: see `lbcore.health.passive`."""

    def found_out(self) -> list[str]:
        """Identities of the servers that are ejected because of what was seen here."""

    def hint(self, servers: Collection[str]) -> None:
        """Eject these servers, which others have ejected, at their next failure here."""


class Opinions:
    """Breakers are opened when more than half of all instances have opened theirs, for as long as theirs stay open.

    What was opened because of others is not told as an opinion of this instance.
    """

    def __init__(self, region: Region, ejections: Hints) -> None:
        self._region = region
        self._ejections = ejections
        self._breakers: dict[str, tuple[Breaker, str]] = {}
        self._trips = -1
        self._open: set[str] = set()
        self._borrowed: dict[str, int] = {}  # until when, in ns, what others have opened is open

    def configured(self, middlewares: Mapping[str, Any], places: Mapping[str, Collection[str]]) -> None:
        """Follow a configuration."""
        self._breakers = {
            f"{name}{APART}{place}": (middleware, place)
            for name, middleware in middlewares.items()
            if hasattr(middleware, "open_until")
            for place in places.get(name, ())
        }
        self._trips = -1

    def own(self) -> Said:
        """What this instance has found out itself."""
        trips = self._region.breakers_tripped
        looked_at = self._breakers if trips != self._trips else self._open & self._breakers.keys()
        self._trips = trips
        now_ns = time.monotonic_ns()
        self._borrowed = {key: until for key, until in self._borrowed.items() if until + AGREE_NS > now_ns}
        self._open, found = set(), {}
        for key in looked_at:
            breaker, place = self._breakers[key]
            until_ns = breaker.open_until(place)
            if until_ns <= now_ns:
                continue
            self._open.add(key)
            if self._borrowed.get(key) != until_ns:
                found[key] = round((until_ns - now_ns) / 1e9, 3)
        return say(self._ejections.found_out(), found)

    def take(self, others: Sequence[Said]) -> None:
        """Follow what the others have found out."""
        self._ejections.hint({server for said in others for server in said.ejected})
        votes: dict[str, list[float]] = {}
        for said in others:
            for key, left_s in said.breakers.items():
                if key in self._breakers:
                    votes.setdefault(key, []).append(left_s)
        now_ns = time.monotonic_ns()
        for key, left in votes.items():
            if 2 * len(left) <= len(others) + 1:
                continue
            breaker, place = self._breakers[key]
            until_ns = now_ns + int(min(left) * 1e9)
            # A breaker that has just ended what it had from others does not open for the rest of the same opening.
            if until_ns - self._borrowed.get(key, 0) > AGREE_NS and (until_ns := breaker.open_at(place, until_ns)):
                self._borrowed[key] = until_ns
