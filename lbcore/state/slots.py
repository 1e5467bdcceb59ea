"""Slots of the shared region by identity of service and server: the map, and the supervisor's allocator. No I/O."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lbcore.errors import ConfigError, Problem
from lbcore.state.region import Region

_NEWEST = 1 << 63  # later than any generation
GRACE_S = 60.0  # least time that a slot rests after its identity has left the configuration


@dataclass(frozen=True, slots=True)
class SlotMap:
    """Slots of one configuration.

    services    slots by identity, `name@provider`.
    servers     slots by identity, `name@provider|url as written`, or `name@provider|child` for children of a service.
    """

    services: Mapping[str, int] = field(default_factory=dict)
    servers: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The map as JSON values, for `from_json` in another process."""
        return {"services": dict(self.services), "servers": dict(self.servers)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> SlotMap:
        """The map from the result of `to_json`."""
        return SlotMap(dict(data["services"]), dict(data["servers"]))


class SlotAllocator:
    """Assigns slots to identities. The supervisor owns it, and is the only writer of assignments.

    An identity keeps its slot, and with it its state, over any number of configurations. `reserve` assigns slots to new
    identities and frees none; `commit` puts a configuration in force, so that identities that are not in it leave. The
    slot of an identity that has left rests for at least `grace_s` seconds, as long as anything is in flight there, and
    until every worker runs that configuration or a later one. An identity that returns meanwhile keeps its counters;
    afterwards the slot is reset for another identity.

    oldest_generation  returns the lowest number of the configurations that any worker may still use.
    """

    def __init__(
        self,
        region: Region,
        grace_s: float = GRACE_S,
        now: Callable[[], float] = time.monotonic,
        oldest_generation: Callable[[], int] = lambda: _NEWEST,
    ) -> None:
        self._region = region
        self._now = now
        self._oldest_generation = oldest_generation
        self._services = _Pool("services", region.services, grace_s, region.reset_service, self._is_unused)
        self._servers = _Pool("servers", region.servers, grace_s, region.reset_server, self._is_quiet)

    def _is_unused(self, slot: int) -> bool:
        return self._region.queue_counters(slot).waiting == 0

    def _is_quiet(self, slot: int) -> bool:
        return self._region.server_in_flight(slot) == 0

    def reserve(self, services: Iterable[str], servers: Iterable[str]) -> SlotMap:
        """The slots of a configuration that may come into force. Running identities keep theirs.

        Raises ConfigError, with nothing changed, if the region has no room. O(identities).
        """
        service_names, server_names = dict.fromkeys(services), dict.fromkeys(servers)
        now, oldest = self._now(), self._oldest_generation()
        problems = self._services.shortage(service_names, now, oldest)
        problems += self._servers.shortage(server_names, now, oldest)
        if problems:
            raise ConfigError(problems)
        returned = [name for name in server_names if name in self._servers.resting]
        slots = SlotMap(self._services.take(service_names), self._servers.take(server_names))
        for name in returned:
            # Its health from before it left is stale.
            self._region.clear_down(slots.servers[name])
        return slots

    def commit(self, services: Iterable[str], servers: Iterable[str], generation: int = 0) -> None:
        """Put the configuration with these identities, all of which have slots, in force under this number."""
        now = self._now()
        self._services.leave(_mapping(services), now, generation)
        self._servers.leave(_mapping(servers), now, generation)

    def assign(self, services: Iterable[str], servers: Iterable[str]) -> SlotMap:
        """`reserve` and `commit` at once."""
        services, servers = list(services), list(servers)
        slots = self.reserve(services, servers)
        self.commit(services, servers)
        return slots


def _mapping(names: Iterable[str]) -> Mapping[str, object]:
    return names if isinstance(names, Mapping) else dict.fromkeys(names)


@dataclass(frozen=True, slots=True)
class _Rest:
    """A slot whose identity has left, with the time and the configuration of that."""

    slot: int
    left_at: float
    generation: int


class _Pool:
    """Slots 0..size-1 of one kind: live, resting (their identity has left), or free. The lowest free slot is next."""

    def __init__(
        self, kind: str, size: int, grace_s: float, reset: Callable[[int], None], is_quiet: Callable[[int], bool]
    ) -> None:
        self.kind = kind
        self.size = size
        self.grace_s = grace_s
        self.reset = reset
        self.is_quiet = is_quiet
        self.live: dict[str, int] = {}
        self.resting: dict[str, _Rest] = {}  # in the order of leaving
        self.free: list[int] = []  # heap of free slots that were used before
        self.next = 0  # slots from here on were never used

    def shortage(self, names: Mapping[str, None], now: float, oldest: int) -> list[Problem]:
        """The problem if `names` do not fit; empty if they do."""
        self._recycle(names, now, oldest)
        new = sum(1 for name in names if name not in self.live and name not in self.resting)
        room = len(self.free) + self.size - self.next
        if new <= room:
            return []
        all_of_them = len(self.live) + new if len(names) < len(self.live) else len(names)
        problem = f"{all_of_them} {self.kind} do not fit: {new} are new, room is left for {room} of {self.size}"
        rest = sum(1 for name in self.resting if name not in names)
        hint = f"{rest} slots of removed {self.kind} come free {self.grace_s:g} s after removal and their last request"
        return [Problem("", problem, hint if rest else "")]

    def take(self, names: Mapping[str, None]) -> dict[str, int]:
        """Make `names` live, and return their slots. There must be room, see `shortage`."""
        for name in names:
            if name not in self.live:
                self.live[name] = self.resting.pop(name).slot if name in self.resting else self._fresh()
        return {name: self.live[name] for name in names}

    def leave(self, names: Mapping[str, object], now: float, generation: int) -> None:
        """Let the slots of live identities rest that are not among `names`."""
        if len(names) == len(self.live):
            return  # all of `names` are live
        for name in [name for name in self.live if name not in names]:
            self.resting[name] = _Rest(self.live.pop(name), now, generation)

    def _fresh(self) -> int:
        if self.free:
            slot = heapq.heappop(self.free)
        else:
            slot, self.next = self.next, self.next + 1
        self.reset(slot)
        return slot

    def _recycle(self, keep: Mapping[str, None], now: float, oldest: int) -> None:
        """Free the slots that have rested long enough, that no worker may use, and that are quiet."""
        over = []
        for name, rest in self.resting.items():
            if rest.left_at + self.grace_s > now:
                break
            if name not in keep and rest.generation <= oldest and self.is_quiet(rest.slot):
                over.append(name)
        for name in over:
            heapq.heappush(self.free, self.resting.pop(name).slot)
