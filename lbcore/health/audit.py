"""The audit of shared counts, of exchanges in flight and of memory for bodies: wrong counts are corrected.

Each worker records what it adds to a shared count in a row of its own, which is subtracted when the worker dies. A
worker that is killed between the two leaves a count that is off by one; the count of a service is not subtracted at
all. The audit finds both.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from lbcore.state.region import Region

POLL_S = 0.5
SURE = (
    3  # consecutive looks that must find the same difference, because the ones of beginning and ending exchanges pass
)

_log = logging.getLogger("lbcore.health")


@dataclass(frozen=True, slots=True)
class Counted:
    """The slots of a service and of its servers whose exchanges in flight are counted.

    leaving  of servers that are not in the configuration any more, while they still have exchanges of the service.
    """

    service: int
    servers: tuple[int, ...]
    leaving: tuple[int, ...] = ()


class InFlightAudit:
    """Corrects counts that differ in SURE consecutive looks."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._services: Mapping[str, Counted] = {}
        self._found: dict[tuple[str, int], tuple[int, int]] = {}  # (kind, slot) -> difference, and number of looks

    def watch(self, services: Mapping[str, Counted], in_use: Collection[int]) -> None:
        """Set the services to audit, by name. `in_use`: the slots of all servers in the configuration."""
        found = {}
        for name, counted in services.items():
            before = self._services.get(name)
            if before is not None and before.service == counted.service:
                left = {*before.servers, *before.leaving}.difference(in_use)
                counted = replace(counted, leaving=tuple(slot for slot in sorted(left) if self._held(slot)))
            found[name] = counted
        self._services = found
        self._found.clear()

    def _held(self, slot: int) -> int:
        """Exchanges of a server, as the workers count them."""
        return self._region.counted_in_flight(slot) - self._region.in_flight_drift([slot])

    async def run(self) -> None:
        """Poll until cancelled. A look is O(counted servers and workers)."""
        while True:
            self._look()
            await asyncio.sleep(POLL_S)

    def _look(self) -> None:
        for name, counted in self._services.items():
            for slot in counted.servers:
                self._judge(name, "server", slot, self._region.in_flight_drift([slot]))
            drift = self._region.in_flight_drift([*counted.servers, *counted.leaving], counted.service)
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
