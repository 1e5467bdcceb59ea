"""The agent of a fleet: one per instance. It looks at the others again and again; no request ever waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lbcore.config.static.fleet import Fleet
from lbcore.errors import Problem
from lbcore.fleet.board import MOST_AT_ONCE, MOST_WEIGHTS, Board, Override, life_s
from lbcore.fleet.opinions import Hints, Opinions
from lbcore.fleet.peers import Peers
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap
from lbcore.store.redis import StoreAway

LEAVE_S = 1.0  # limit of the last word of an instance that stops
LEAST_PAUSE_S = 0.01  # between two looks

_log = logging.getLogger("lbcore.fleet")


@dataclass(frozen=True, slots=True)
class FleetState:
    """What is known of a fleet.

    problem  why no more is known; empty: nothing is wrong.
    shed     opinions that were not told, and weights that were dropped, for want of room.
    """

    name: str
    instances: int
    problem: str = ""
    shed: int = 0


def fleet_problems(fleet: Fleet) -> list[Problem]:
    """Why a fleet cannot be used. Asks nobody."""
    try:
        if fleet.redis is not None:
            Board(fleet, fleet.redis, b"")
    except ValueError as error:
        return [Problem("fleet.redis", str(error))]
    return []


class FleetAgent:
    """Counts instances, shares opinions about servers, and has overrides of weights hold everywhere.

    While the store is away the last number of instances stays, this instance decides alone, and weights that are set
    hold here at once and elsewhere when the store is back. A store that comes back empty gets the weights again that
    are known here, and the number of instances does not fall until all had the time to speak.
    """

    def __init__(self, fleet: Fleet, region: Region, ejections: Hints) -> None:
        self._fleet = fleet
        self._region = region
        self._opinions = Opinions(region, ejections)
        self._instance = os.urandom(9).hex().encode()
        self._peers = Peers(fleet.peers) if fleet.peers is not None else None
        self._board: Board | None = None
        self._has_spoken = False
        self._settles_until_s = 0.0  # the store has lost who is there: until then the number does not fall
        self._slots = SlotMap()
        self._known: dict[str, Override] = {}  # the overrides of all instances, by identity
        self._stamp = 0  # the last one that was seen
        self._version, self._epoch = 0, b""  # of the store, when it was asked last
        self._unsent: dict[str, int | None] = {}  # weights that the store has not got yet, the oldest first
        self._soon = asyncio.Event()
        self._shed = 0
        self._state = FleetState(fleet.name, 1)
        region.instances = 1

    @property
    def state(self) -> FleetState:
        return self._state

    def configured(
        self, slots: SlotMap, middlewares: Mapping[str, Any], places: Mapping[str, Collection[str]]
    ) -> None:
        """Follow a configuration: members that it adds get the weights that they have elsewhere."""
        self._slots = slots
        self._apply({identity: override.weight for identity, override in self._known.items()} | self._unsent)
        self._opinions.configured(middlewares, places)

    def set_weights(self, weights: Mapping[str, int | None]) -> None:
        """Overrides of weights were set here, by identity: have them hold elsewhere, too."""
        if self._fleet.redis is None:
            return
        for identity, weight in weights.items():
            self._unsent.pop(identity, None)
            self._unsent[identity] = weight
        while len(self._unsent) > MOST_WEIGHTS:
            del self._unsent[next(iter(self._unsent))]
            self._shed += 1
        self._soon.set()

    async def run(self) -> None:
        """Look at the others until cancelled."""
        interval_s = self._fleet.interval.total_seconds()
        if self._fleet.redis is not None:
            self._board = Board(self._fleet, self._fleet.redis, self._instance)
        try:
            while True:
                began_s = time.monotonic()
                self._soon.clear()
                await self._look()
                if self._unsent and not self._state.problem:
                    self._soon.set()
                await asyncio.sleep(LEAST_PAUSE_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(interval_s - (time.monotonic() - began_s), 0)):
                        await self._soon.wait()
        finally:
            if self._board is not None:
                with contextlib.suppress(StoreAway, TimeoutError):
                    async with asyncio.timeout(LEAVE_S):
                        await self._board.leave()
                self._board.close()

    async def _look(self) -> None:
        """One look at the others. What goes wrong is a problem that is told, and no more."""
        instances, problem = 0, ""
        if self._board is not None:
            try:
                instances = await self._share(self._board)
            except Exception as error:
                problem = str(error) if isinstance(error, StoreAway) else f"store redis: {error!r}"
                self._opinions.take([])
        if not instances and self._peers is not None:
            try:
                instances = await self._peers.count()
            except OSError as error:
                problem = problem or f"peers: {' '.join(str(error).split())}"
        instances = instances or self._state.instances
        before, self._state = self._state, FleetState(self._fleet.name, instances, problem, self._shed)
        self._region.instances = instances
        if instances != before.instances:
            _log.info("fleet %s: %d instance%s", self._fleet.name, instances, "" if instances == 1 else "s")
        if problem and problem != before.problem:
            _log.warning("fleet %s: %s: this instance decides alone", self._fleet.name, problem)
        elif before.problem and not problem:
            _log.info("fleet %s: the others are known again", self._fleet.name)

    async def _share(self, board: Board) -> int:
        """Say what is known here, and take what is known elsewhere. Returns the number of instances."""
        own = self._opinions.own()
        self._shed += own.shed
        was_known, others = await board.exchange(own)
        now_s = time.monotonic()
        if self._has_spoken and not was_known:
            self._settles_until_s = now_s + life_s(self._fleet)
        self._has_spoken = True
        self._opinions.take(others)
        await self._send_weights(board)
        await self._take_weights(board)
        instances = 1 + len(others)
        return max(instances, self._state.instances) if now_s < self._settles_until_s else instances

    # Weights

    async def _send_weights(self, board: Board) -> None:
        told = dict(islice(self._unsent.items(), MOST_AT_ONCE))
        if not told:
            return
        stamp, shed = await board.set_weights(told, self._stamp)
        self._note_shed(shed)
        self._stamp = max(self._stamp, stamp)
        for identity, weight in told.items():
            self._known[identity] = Override(stamp, weight)
            if identity in self._unsent and self._unsent[identity] == weight:
                del self._unsent[identity]

    async def _take_weights(self, board: Board) -> None:
        theirs = await board.weights(self._version, self._epoch)
        lost = {}
        if theirs.whole:
            for identity, override in self._known.items():
                found = theirs.found.get(identity)
                if override.stamp > (theirs.cut if found is None else found.stamp):
                    lost[identity] = override
        newer = {
            identity: override
            for identity, override in theirs.found.items()
            if identity not in self._known or override.stamp > self._known[identity].stamp
        }
        if theirs.whole:  # what it has dropped for want of room ends here, too
            gone = self._known.keys() - theirs.found.keys() - lost.keys()
            newer |= {identity: Override(theirs.cut, None) for identity in gone}
        self._known |= newer
        self._stamp = max([self._stamp, theirs.version, *(override.stamp for override in newer.values())])
        self._apply({name: override.weight for name, override in newer.items() if name not in self._unsent})
        self._bound()
        if lost:
            self._note_shed(await board.restore(lost))
        self._version, self._epoch = theirs.version, theirs.epoch

    def _note_shed(self, count: int) -> None:
        self._shed += count
        if count:
            _log.warning("fleet %s: the store has dropped %d weights for want of room", self._fleet.name, count)

    def _bound(self) -> None:
        """Forget overrides that have ended, and then the oldest ones, if there are too many."""
        if len(self._known) > 2 * MOST_WEIGHTS:
            found = sorted(self._known.items(), key=lambda item: (item[1].weight is not None, item[1].stamp))
            self._known = dict(found[-MOST_WEIGHTS:])

    def _apply(self, weights: Mapping[str, int | None]) -> None:
        for identity, weight in weights.items():
            slot = self._slots.servers.get(identity)
            if slot is not None and self._region.weight_override(slot) != weight:
                self._region.set_weight(slot, weight)
