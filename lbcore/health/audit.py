"""Shared counts, of exchanges in flight and of memory for bodies, compared with what workers hold: none stays wrong.

Each worker notes what it adds to a shared count in a row of its own, which is subtracted when the worker dies. One
that is killed between the two leaves a count that is off by one; the count of a service is not subtracted at all.
Both are found here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from lbcore.state.region import Region

POLL_S = 0.5
SURE = (
    3  # looks in a row that find the same difference: one that comes from exchanges beginning and ending does not stay
)

_log = logging.getLogger("lbcore.health")


@dataclass(frozen=True, slots=True)
class Counted:
    """Slots of a service and of its servers, whose exchanges in flight are counted."""

    service: int
    servers: tuple[int, ...]


class InFlightAudit:
    """Corrects what is off for SURE looks."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._services: Mapping[str, Counted] = {}
        self._found: dict[tuple[str, int], tuple[int, int]] = {}  # by kind and slot: drift, and how often in a row

    def watch(self, services: Mapping[str, Counted]) -> None:
        """The services to look after, by name."""
        self._services = services
        self._found.clear()

    async def run(self) -> None:
        """Poll until cancelled. O(servers that are counted and workers)."""
        while True:
            self._look()
            await asyncio.sleep(POLL_S)

    def _look(self) -> None:
        for name, counted in self._services.items():
            for slot in counted.servers:
                self._judge(name, "server", slot, self._region.in_flight_drift([slot]))
            drift = self._region.in_flight_drift(counted.servers, counted.service)
            self._judge(name, "service", counted.service, drift)
        self._judge("", "memory", 0, self._region.body_memory_drift())

    def _judge(self, name: str, kind: str, slot: int, drift: int) -> None:
        before, times = self._found.pop((kind, slot), (0, 0))
        if not drift:
            return
        times = times + 1 if drift == before else 1
        if times < SURE:
            self._found[kind, slot] = drift, times
            return
        if kind == "memory":
            self._region.correct_body_memory(drift)
            _log.info("memory for bodies that are kept was counted %+d bytes, corrected", drift)
            return
        self._region.correct_in_flight(slot, drift, kind == "service")
        _log.info("requests under way at a %s of %s were counted %+d, corrected", kind, name, drift)
