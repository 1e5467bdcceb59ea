"""The live stream of the API: one read of the region per interval for all viewers, and events of what has changed.

The region is read each second: as long as somebody watches, all that is shown is made of it, and else only the maxima
are taken, and each ten seconds the points of the curves.
What is read, compared and encoded (`nodes`) does not depend on how many watch. I/O: none but the region, the clock, and
the CPU time of workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
import uuid
from collections.abc import AsyncIterator, Callable
from json.encoder import encode_basestring_ascii
from typing import TypeVar

from lbcore import __version__
from lbcore.api.cpu import CpuMeter
from lbcore.api.history import INTERVAL_S, History
from lbcore.api.news import digest
from lbcore.api.nodes import IDLE, Nodes, View, dumped
from lbcore.api.runtime import Runtime
from lbcore.api.structure import Structure

LOOK_S = 1.0
LEAST_S = LOOK_S * 0.9  # of a second whose rates count for the maxima
BUILD_S = 0.01  # CPU time in which a look makes nodes; the next ones make the others
MOST_WATCHERS = 64
MOST_QUEUED = 8  # events that a watcher has not taken, before it is dropped

T = TypeVar("T")


class Watcher:
    """One who watches: a queue of events, which ends with None."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[bytes | None] = asyncio.Queue()

    def put(self, event: bytes) -> bool:
        """Queue an event. False: too many were not taken."""
        if self.events.qsize() >= MOST_QUEUED:
            return False
        self.events.put_nowait(event)
        return True

    def drop(self) -> None:
        """End its stream now: what it has not taken is of no use to it any more."""
        while not self.events.empty():
            self.events.get_nowait()
        self.events.put_nowait(None)


async def until_none(events: asyncio.Queue[bytes | None], over: Callable[[], None]) -> AsyncIterator[bytes]:
    """The events of a queue, which ends with None. `over` is called then, or when nobody takes them any more."""
    try:
        while (event := await events.get()) is not None:
            yield event
    finally:
        over()


class CannotWatchError(Exception):
    """Nobody can watch just now: too many do, or the instance stops."""


def event_of(name: str, data: str) -> bytes:
    """An event of a stream (HTML, section 9.2.6)."""
    return f"event: {name}\ndata: {data}\n\n".encode()


class Live:
    """One per instance. All of its work is done in one thread at a time, beside the loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._nodes = Nodes(runtime)
        self._cpu = CpuMeter()
        self.history = History()
        self.maxima = self._nodes.maxima
        self.instance = uuid.uuid4().hex
        self.dropped = 0
        self._watchers: set[Watcher] = set()
        self._info = ""
        self._stopped = False
        self._turn = asyncio.Lock()
        self._woken = asyncio.Event()

    # Who watches.

    async def watch(self) -> AsyncIterator[bytes]:
        """The events of one who watches, a whole picture first. Raises CannotWatchError."""
        if self._stopped or len(self._watchers) >= MOST_WATCHERS:
            raise CannotWatchError("the instance stops" if self._stopped else f"{MOST_WATCHERS} watch already")
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            async with self._turn:
                first = await asyncio.to_thread(self._picture, copy.copy(self._runtime), len(self._watchers) == 1)
            # What the first picture lacks is in the events after it; what it has, they may repeat.
            watcher.put(first)
        except BaseException:
            self._watchers.discard(watcher)
            raise
        self._woken.set()
        return until_none(watcher.events, lambda: self._watchers.discard(watcher))

    def close(self) -> None:
        """End the streams of all who watch, and begin no other."""
        self._stopped = True
        for watcher in self._watchers:
            watcher.events.put_nowait(None)

    def _tell(self, events: bytes) -> None:
        for watcher in list(self._watchers):
            if not watcher.put(events):
                self.dropped += 1
                self._watchers.discard(watcher)
                watcher.drop()

    # The clock.

    async def run(self) -> None:
        """Look until cancelled."""
        next_s = second_s = time.monotonic()
        while True:
            next_s = max(next_s + (LOOK_S if self._watchers else INTERVAL_S), time.monotonic())
            self._woken.clear()
            while (rest_s := next_s - time.monotonic()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(rest_s, LOOK_S)):
                        await self._woken.wait()
                        self._woken.clear()
                        next_s = min(next_s, time.monotonic() + LOOK_S)
                if self._nodes.outages.is_due(self._runtime.region, self._nodes.structure):
                    async with self._turn:
                        await asyncio.to_thread(self._nodes.follow_servers, self._runtime)
                if time.monotonic() - second_s >= LEAST_S <= next_s - time.monotonic():
                    async with self._turn:
                        second_s = time.monotonic()
                        await asyncio.to_thread(self._nodes.end_second, copy.copy(self._runtime))
            async with self._turn:
                if ends_second := time.monotonic() - second_s >= LEAST_S:
                    second_s = time.monotonic()
                events = await asyncio.to_thread(self._look, copy.copy(self._runtime), ends_second)
            self._tell(events)

    # From here on in a thread.

    async def look_at(self, id: str) -> View:
        """What is known of a service's member, or another node, after a look."""

        def look(runtime: Runtime) -> View:
            nodes = self._nodes
            structure = nodes.look(runtime)
            unit = structure.nodes.get(id, IDLE).get("service", id) if "/members/" in id else id
            nodes.pending = {unit: None} | nodes.pending
            nodes.build(runtime, structure)
            return nodes.views.get(id, IDLE)

        async with self._turn:
            return await asyncio.to_thread(look, copy.copy(self._runtime))

    async def read(self, make: Callable[[Runtime, Structure, dict[str, View]], T]) -> T:
        """What `make` finds, in a thread, in the nodes and in what is known of them now."""

        def call(runtime: Runtime) -> T:
            nodes = self._nodes
            if self._watchers:
                structure = nodes.follow(runtime)
            else:
                structure = nodes.look(runtime)
                nodes.build(runtime, structure)
            return make(runtime, structure, nodes.views)

        async with self._turn:
            return await asyncio.to_thread(call, copy.copy(self._runtime))

    def _picture(self, runtime: Runtime, is_first: bool) -> bytes:
        """The first events of one who watches."""
        nodes = self._nodes
        structure = nodes.follow(runtime)
        if is_first:
            nodes.pending |= dict.fromkeys(nodes.outages.services())
            nodes.look(runtime)
            nodes.build(runtime, structure)
            nodes.sampler.begin()
            self._cpu.look([worker.pid for worker in runtime.workers()])
        self._info = digest(runtime)
        hello = {
            "instance": self.instance,
            "version": __version__,
            "started": round(runtime.started_unix_s * 1000),
            "interval": round(LOOK_S * 1000),
            "structure": structure.version,
            "info": self._info,
            "writable": bool(runtime.static.api and runtime.static.api.token),
            "watchers": len(self._watchers),
            "watchersMax": MOST_WATCHERS,
        }
        return b"retry: 1000\n" + event_of("hello", dumped(hello)) + self._event("state", runtime, nodes.texts)

    def _look(self, runtime: Runtime, ends_second: bool) -> bytes:
        """Read once. Returns the events."""
        nodes = self._nodes
        before, structure = nodes.structure, nodes.look(runtime, ends_second)
        number = int(time.time()) // INTERVAL_S
        if number != self.history.number:
            nodes.keep(structure, self.history, number)
        if not self._watchers:
            nodes.pending.clear()  # what is active is pending again when somebody watches
            nodes.untold.clear()
            return b""
        nodes.build(runtime, structure, BUILD_S)
        self._cpu.look([worker.pid for worker in runtime.workers()])
        changed, nodes.untold = nodes.untold, {}
        events = b""
        if before is not structure:
            events += event_of("structure", dumped({"version": structure.version}))
        if (info := digest(runtime)) != self._info:
            self._info = info
            events += event_of("info", dumped({"version": info}))
        return events + self._event("change", runtime, changed)

    def _event(self, name: str, runtime: Runtime, texts: dict[str, str]) -> bytes:
        nodes = ",".join(f"{encode_basestring_ascii(id)}:{text}" for id, text in texts.items())
        now = round(time.time() * 1000)
        return event_of(name, f'{{"time":{now},"totals":{dumped(self._totals(runtime))},"nodes":{{{nodes}}}}}')

    def _totals(self, runtime: Runtime) -> View:
        found = self._nodes.totals()
        if self._cpu.parts:
            found["cpuWorkers"] = self._cpu.parts
        found["watchers"], found["watchersDropped"] = len(self._watchers), self.dropped
        found["uptime"] = round((time.time() - runtime.started_unix_s) * 1000)
        return found
