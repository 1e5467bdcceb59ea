"""Slots of the shared region by identity of service and server: the map, and the supervisor's allocator. No I/O."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lbcore.errors import ConfigError, Problem
from lbcore.state.region import Region

GRACE_S = 60.0  # how long at least a slot rests after its identity left the configuration


@dataclass(frozen=True, slots=True)
class SlotMap:
    """Slots of one configuration.

    services    slot by identity, `name@provider`.
    servers     slot by identity, `name@provider|url as written`; children of a service likewise, `name@provider|child`.
    """

    services: Mapping[str, int] = field(default_factory=dict)
    servers: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The map as JSON values, for `from_json` in another process."""
        return {"services": dict(self.services), "servers": dict(self.servers)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> SlotMap:
        """What `to_json` gave."""
        return SlotMap(dict(data["services"]), dict(data["servers"]))


class SlotAllocator:
    """Gives identities their slots; owned by the supervisor, the only writer of assignments.

    An identity keeps its slot, and so its state, over any number of configurations. When it leaves, the slot rests for
    `grace_s` seconds at least and while anything is in flight there; an identity that comes back meanwhile finds its
    counters again. Then another identity may get it, reset.
    """

    def __init__(self, region: Region, grace_s: float = GRACE_S, now: Callable[[], float] = time.monotonic) -> None:
        self._region = region
        self._now = now
        self._services = _Pool("services", region.services, grace_s, region.reset_service, self._is_unused)
        self._servers = _Pool("servers", region.servers, grace_s, region.reset_server, self._is_quiet)

    def _is_unused(self, slot: int) -> bool:
        return self._region.queue_counters(slot).waiting == 0

    def _is_quiet(self, slot: int) -> bool:
        return self._region.server_in_flight(slot) == 0

    def assign(self, services: Iterable[str], servers: Iterable[str]) -> SlotMap:
        """The slots of a new configuration; identities not named have left.

        Raises ConfigError, with nothing changed, when the region has no room.
        Cost  O(identities).
        """
        service_names, server_names = dict.fromkeys(services), dict.fromkeys(servers)
        now = self._now()
        problems = self._services.shortage(service_names, now) + self._servers.shortage(server_names, now)
        if problems:
            raise ConfigError(problems)
        returned = [name for name in server_names if name in self._servers.resting]
        slots = SlotMap(self._services.assign(service_names, now), self._servers.assign(server_names, now))
        for name in returned:
            # What was known of its health before it left is stale.
            self._region.clear_down(slots.servers[name])
        return slots


class _Pool:
    """Slots 0..size-1 of one kind: live, resting after their identity left, or free. The lowest free one goes first."""

    def __init__(
        self, kind: str, size: int, grace_s: float, reset: Callable[[int], None], is_quiet: Callable[[int], bool]
    ) -> None:
        self.kind = kind
        self.size = size
        self.grace_s = grace_s
        self.reset = reset
        self.is_quiet = is_quiet
        self.live: dict[str, int] = {}
        self.resting: dict[str, tuple[int, float]] = {}  # slot and when its identity left; the longest gone first
        self.free: list[int] = []  # heap of slots used before
        self.next = 0  # slots from here on were never used

    def shortage(self, names: Mapping[str, None], now: float) -> list[Problem]:
        """Why `names` do not fit; empty when they do."""
        self._recycle(names, now)
        new = sum(1 for name in names if name not in self.live and name not in self.resting)
        room = len(self.free) + self.size - self.next
        if new <= room:
            return []
        problem = f"{len(names)} {self.kind} do not fit: {new} are new, room is left for {room} of {self.size}"
        rest = sum(1 for name in self.resting if name not in names)
        hint = f"{rest} slots of removed {self.kind} come free {self.grace_s:g} s after removal and their last request"
        return [Problem("", problem, hint if rest else "")]

    def assign(self, names: Mapping[str, None], now: float) -> dict[str, int]:
        """Make `names` the live ones; there is room, as `shortage` said."""
        for name in [name for name in self.live if name not in names]:
            self.resting[name] = (self.live.pop(name), now)
        for name in names:
            if name not in self.live:
                self.live[name] = self.resting.pop(name)[0] if name in self.resting else self._fresh()
        return {name: self.live[name] for name in names}

    def _fresh(self) -> int:
        if self.free:
            slot = heapq.heappop(self.free)
        else:
            slot, self.next = self.next, self.next + 1
        self.reset(slot)
        return slot

    def _recycle(self, keep: Mapping[str, None], now: float) -> None:
        """Free the slots that rested long enough and are quiet."""
        over = []
        for name, (slot, left_at) in self.resting.items():
            if left_at + self.grace_s > now:
                break
            if name not in keep and self.is_quiet(slot):
                over.append(name)
        for name in over:
            heapq.heappush(self.free, self.resting.pop(name)[0])
