"""Slow start: the share of a server that is new, or up again, ramps up to its weight."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from lbcore.config.dynamic import SlowStart
from lbcore.state.region import Region

POLL_S = 0.05
STEPS = 20  # steps of a ramp; each step makes every worker rebuild its order of picks

_log = logging.getLogger("lbcore.health")


@dataclass(frozen=True, slots=True)
class Starting:
    """A server, or a child service, with slow start.

    identity      `service|url`, or `service|child`.
    service       the service that chooses it.
    service_slot  of a child whose status its parent watches; None for a server, and if the parent does not watch.
    """

    identity: str
    service: str
    settings: SlowStart
    service_slot: int | None = None


@dataclass(slots=True)
class _Seen:
    """The last observation of a member. `exempt`: it was down at the start, so its first time up needs no ramp."""

    is_up: bool
    changed_ns: int
    exempt: bool = False


class SlowStarts:
    """Sets the part of each member's weight that counts, in the shared cells, in steps.

    A member that is down gets the least part already, so that it does not come up with more before the next look.
    """

    def __init__(self, region: Region, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._region = region
        self._clock = clock
        self._watched: Mapping[int, Starting] = {}
        self._seen: dict[int, _Seen] = {}
        self._ramps: dict[int, int] = {}  # start of the ramp in monotonic ns, by slot
        self._known: Collection[str] | None = None  # identities of the previous configuration; None = there was none
        self._eligibility = -1

    def watch(self, members: Mapping[int, Starting], identities: Collection[str]) -> None:
        """Follow a new configuration: the members with slow start, by slot, and the identities of all members.

        Ramps continue. A new member begins a ramp, unless all members of its service are new.
        """
        now_ns = self._clock()
        for slot in self._watched:
            if slot not in members:
                self._seen.pop(slot, None)
                self._ramps.pop(slot, None)
                self._region.set_ramp(slot, 0)
        first, known = self._known is None, self._known or frozenset()
        old_services = {member.service for member in members.values() if member.identity in known}
        for slot, member in members.items():
            if slot not in self._watched:
                self._seen[slot] = self._look_at(slot, member)
                self._seen[slot].exempt = first and not self._seen[slot].is_up
            if member.identity not in known and member.service in old_services:
                self._begin(slot, member, now_ns)
        self._watched = members
        self._known = identities
        self._eligibility = -1

    async def run(self) -> None:
        """Poll until cancelled. A look is O(members) after a change of health, else O(ramps and child services)."""
        while True:
            self.look()
            await asyncio.sleep(POLL_S)

    def look(self) -> None:
        """Find members that have gone up or down, and advance every ramp."""
        region, now_ns = self._region, self._clock()
        eligibility = region.eligibility  # read first, so that the next look sees changes during this one
        moved, self._eligibility = self._eligibility != eligibility, eligibility
        for slot, member in self._watched.items():
            if moved or member.service_slot is not None:
                self._follow(slot, member, now_ns)
        for slot, began_ns in list(self._ramps.items()):
            member = self._watched[slot]
            percent = percent_at((now_ns - began_ns) / 1e9, member.settings)
            region.set_ramp(slot, percent % 100)
            if percent == 100:
                del self._ramps[slot]
                _log.info("Slow start is over. service=%s member=%s", member.service, _key(member))

    def _follow(self, slot: int, member: Starting, now_ns: int) -> None:
        before, now = self._seen[slot], self._look_at(slot, member)
        now.exempt = before.exempt and not now.is_up
        self._seen[slot] = now
        if before.exempt:
            return
        if not now.is_up:
            self._ramps.pop(slot, None)
            self._region.set_ramp(slot, member.settings.min_weight_percent % 100)
        elif not before.is_up or now.changed_ns != before.changed_ns:
            self._begin(slot, member, now_ns)

    def _begin(self, slot: int, member: Starting, now_ns: int) -> None:
        self._ramps[slot] = now_ns
        self._region.set_ramp(slot, percent_at(0, member.settings) % 100)
        _log.info("Slow start begins. service=%s member=%s", member.service, _key(member))

    def _look_at(self, slot: int, member: Starting) -> _Seen:
        region, service = self._region, member.service_slot
        is_up, changed_ns = region.is_up(slot), region.changed_ns(slot)
        if service is not None:
            is_up = is_up and region.service_is_up(service)
            changed_ns = max(changed_ns, region.service_changed_ns(service))
        return _Seen(is_up, changed_ns)


def _key(member: Starting) -> str:
    return member.identity.removeprefix(f"{member.service}|")


def percent_at(seconds: float, settings: SlowStart) -> int:
    """The part of the weight that counts after a time, in percent: 1 to 100, in STEPS steps.

    As in Envoy: max(minimum, (time / window) ** (1 / aggression)); 1 is linear, more is faster at first.
    """
    step = int(seconds / settings.duration.total_seconds() * STEPS)
    if step >= STEPS:
        return 100
    return max(settings.min_weight_percent, min(99, int(100 * (step / STEPS) ** (1 / settings.aggression))))
