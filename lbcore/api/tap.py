"""Single requests as they pass, for those who watch them: who watches, what fits, and how many a second are shown.

Workers make a record of a request only while somebody watches, and only if it fits and there is something left of what
its watcher wants each second (`observability.tap`). What workers show comes through rings in the shared memory, which
are read here. The flag by which workers know that somebody watches ends by itself, LEASE_S after this process has gone.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from lbcore.api.live import CannotWatchError, event_of, until_none
from lbcore.api.nodes import dumped
from lbcore.api.refused import RefusedError
from lbcore.api.runtime import Runtime
from lbcore.config.units import format_duration, parse_duration, status_ranges
from lbcore.errors import typed_message_of
from lbcore.observability.ring import TAPS, LineReader
from lbcore.observability.tap import FIELDS, hidden_keys, is_named
from lbcore.state.cells import most_taps

RATE = 10
MOST_RATE = 100  # requests a second that one who watches may see
MOST_S = 86_400.0
POLL_S = 0.1
LEASE_S = 2.0  # workers show requests for so long after the last poll
COUNTS_S = 1.0
MOST_QUEUED = 50  # pieces that a watcher has not taken, before it is dropped: five seconds
FILTERS = ("router", "service", "server", "status", "method", "path", "client")
MOST_LETTERS = 2048  # of a filter
MOST_BYTES = 4096  # of all filters of one who watches: all workers are told of all of them whenever one comes or goes
NO_ANSWER = "none"

_log = logging.getLogger("lbcore.api")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one wants to see: `filters` as `observability.tap.Watch` takes them, `rate` a second, for `for_s` seconds;
    0: until it goes."""

    filters: dict[str, Any]
    rate: int
    for_s: float


def wanted_of(runtime: Runtime, pairs: Iterable[tuple[str, str]]) -> Wanted:
    """What a query asks for. Raises RefusedError."""
    given: dict[str, str] = {}
    for key, value in pairs:
        if key not in (*FILTERS, "rate", "for"):
            raise RefusedError(400, f"no such filter: {key}; there are {', '.join(FILTERS)}, and rate and for")
        if key in given:
            raise RefusedError(400, f"{key} is given twice")
        if len(value) > MOST_LETTERS:
            raise RefusedError(400, f"{key}: more than {MOST_LETTERS} letters")
        given[key] = value
    found: dict[str, Any] = {key: given[key] for key in FILTERS if given.get(key)}
    if sum(len(value.encode()) for value in found.values()) > MOST_BYTES:
        raise RefusedError(400, f"the filters have more than {MOST_BYTES} bytes")
    hidden = hidden_keys(runtime.static)
    for key in found:
        if key in hidden:
            raise RefusedError(400, f"{key}: accessLog.fields drops {FIELDS[key]}, so that it cannot be asked for")
    if "status" in found:
        found["statuses"] = _statuses(found.pop("status"))
    if "method" in found:
        found["method"] = found["method"].upper()
    if "client" in found:
        try:
            found["client"] = str(ip_network(found["client"], strict=False))
        except ValueError:
            raise RefusedError(400, f"client: {found['client']!r} is neither an address nor a network") from None
    for key, names in (("router", runtime.routers_of("http")), ("service", runtime.services_of("http"))):
        if key in found and not found[key].endswith("@internal"):
            wanted = found[key]
            if wanted not in names and not any(is_named(name, wanted) for name in names):
                raise RefusedError(404, f"{key} not found: {wanted}")
    return Wanted(found, _rate(given.get("rate", "")), _seconds(given.get("for", "")))


def _statuses(text: str) -> list[tuple[int, int]]:
    """`5xx`, `404`, `500-504`, `none`, and several of them with commas."""
    found = []
    for part in (each.strip().lower() for each in text.split(",")):
        if part == NO_ANSWER:
            found.append((0, 0))
        elif len(part) == 3 and part[0] in "12345" and part[1:] == "xx":
            found.append((int(part[0]) * 100, int(part[0]) * 100 + 99))
        else:
            try:
                found += status_ranges([part])
            except ValueError:
                text = f"status: {part!r} is none of 404, 500-504, 5xx and {NO_ANSWER} (no answer)"
                raise RefusedError(400, text) from None
    return found


def _rate(text: str) -> int:
    if not text:
        return RATE
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MOST_RATE):
        raise RefusedError(400, f"rate: {text!r} is no number between 1 and {MOST_RATE} a second")
    return int(text)


def _seconds(text: str) -> float:
    if not text:
        return 0.0
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise RefusedError(400, f"for: {error}") from None
    if not 0 < found.total_seconds() <= MOST_S:
        raise RefusedError(400, f"for: {format_duration(found)} is not between 1ms and {MOST_S / 3600:g}h")
    return found.total_seconds()


class Watcher:
    """One who watches. `slot`: of its cell in the region; `skipped`, `lost`: what these counters had when it came."""

    def __init__(self, id: int, slot: int, wanted: Wanted, skipped: int, lost: int) -> None:
        self.id = id
        self.slot = slot
        self.wanted = wanted
        self.events: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.hello = b""  # the first event, until the workers know of this one
        self.shown = 0
        self.skipped = self._skipped_before = skipped
        self.lost = self._lost_before = lost
        self.credit = float(wanted.rate)
        self.until_s = time.monotonic() + wanted.for_s if wanted.for_s else 0.0
        self.told_s = 0.0
        self.news: list[bytes] = []  # events of the present poll

    def counts(self) -> str:
        """How many requests it was shown, and how many more fitted: `skipped` for the rate, `lost` for want of room."""
        skipped, lost = self.skipped - self._skipped_before, self.lost - self._lost_before
        return dumped({"shown": self.shown, "skipped": skipped, "lost": lost})

    def told(self) -> dict[str, Any]:
        """For the workers."""
        return {"id": self.id, "slot": self.slot, **self.wanted.filters}


class Taps:
    """One per instance. It works in the loop, and only while somebody watches."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._watchers: dict[int, Watcher] = {}
        self._free = deque(range(most_taps))  # those that were used last come last
        self._last_id = 0
        self._running: asyncio.Task[None] | None = None
        self._stopped = False
        self._polled_s = 0.0
        self._followed_s = -math.inf  # when the workers were told last who watches
        self._is_stale = False  # somebody has come or gone since then

    def watch(self, wanted: Wanted) -> AsyncIterator[bytes]:
        """The events of one who watches. Raises CannotWatchError."""
        if self._stopped or not self._free:
            raise CannotWatchError("the instance stops" if self._stopped else f"{most_taps} watch requests already")
        region = self._runtime.region
        slot = self._free.popleft()
        skipped = region.grant_tap(slot, 0, 0)
        self._last_id += 1
        watcher = Watcher(self._last_id, slot, wanted, skipped, region.taps_lost)
        self._watchers[watcher.id] = watcher
        hello = {
            "rate": wanted.rate,
            "for": wanted.for_s,
            "hidden": sorted(hidden_keys(self._runtime.static)),
            "watchers": len(self._watchers),
            "watchersMax": most_taps,
        }
        watcher.hello = b"retry: 1000\n" + event_of("hello", dumped(hello))
        self._follow()
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="lbcore taps")
        return until_none(watcher.events, lambda: self._forget(watcher))

    def _forget(self, watcher: Watcher) -> None:
        if self._watchers.pop(watcher.id, None) is not None:
            self._free.append(watcher.slot)
            self._follow()

    def _follow(self) -> None:
        """Have the workers know who watches: at once, or, if they were told just now, with the next poll. Each of them
        reads it in the loop that serves its clients: those who come and go all the time must not make more work."""
        self._is_stale = True
        if time.monotonic() - self._followed_s >= POLL_S:
            self._tell_workers()

    def _tell_workers(self) -> None:
        self._is_stale, self._followed_s = False, time.monotonic()
        self._runtime.set_taps([watcher.told() for watcher in self._watchers.values()])
        for watcher in self._watchers.values():
            if watcher.hello:
                watcher.events.put_nowait(watcher.hello)
                watcher.hello = b""

    def close(self) -> None:
        """End the streams of all who watch, and begin no other."""
        self._stopped = True
        if self._running is not None:
            self._running.cancel()
        self._end()

    def _end(self) -> None:
        """End all streams."""
        self._running = None
        self._runtime.region.watch_requests(0)
        for watcher in list(self._watchers.values()):
            watcher.events.put_nowait(None)
            self._forget(watcher)
        if self._is_stale:
            self._tell_workers()

    async def _run(self) -> None:
        region = self._runtime.region
        try:
            reader = LineReader(region, TAPS)
            self._polled_s = time.monotonic()
            while self._watchers:
                self._poll(reader)
                await asyncio.sleep(POLL_S)
        except Exception as error:  # of memory
            _log.error("single requests cannot be shown: %s", typed_message_of(error))
        finally:
            self._end()

    def _poll(self, reader: LineReader) -> None:
        """Let workers show more, and pass on what they have shown."""
        region = self._runtime.region
        now_s = time.monotonic()
        if self._is_stale:
            self._tell_workers()
        while block := reader.merge(time.monotonic_ns()):
            reader.release()
            for line in block.splitlines():
                self._take(line)
        lost = region.taps_lost
        for watcher in list(self._watchers.values()):
            rate = watcher.wanted.rate
            watcher.credit = min(float(rate), watcher.credit + (now_s - self._polled_s) * rate)
            granted = int(watcher.credit)
            watcher.credit -= granted
            watcher.skipped, watcher.lost = region.grant_tap(watcher.slot, granted, rate), lost
            is_over = watcher.until_s and now_s >= watcher.until_s
            if is_over:
                watcher.news.append(event_of("end", watcher.counts()))
            elif now_s - watcher.told_s >= COUNTS_S:
                watcher.told_s = now_s
                watcher.news.append(event_of("counts", watcher.counts()))
            self._tell(watcher, bool(is_over))
        self._polled_s = now_s
        region.watch_requests(time.monotonic_ns() + int(LEASE_S * 1e9) if self._watchers else 0)

    def _take(self, line: bytes) -> None:
        """Give a request to those whom it was shown for: `3,7 {…}`."""
        ids, _, text = line.partition(b" ")
        for id in ids.split(b","):
            watcher = self._watchers.get(int(id))
            if watcher is not None:
                watcher.shown += 1
                watcher.news.append(b"event: request\ndata: " + text + b"\n\n")

    def _tell(self, watcher: Watcher, is_last: bool) -> None:
        if watcher.news:
            watcher.events.put_nowait(b"".join(watcher.news))
            watcher.news = []
        if is_last or watcher.events.qsize() > MOST_QUEUED:  # it does not read
            if not is_last:
                while not watcher.events.empty():
                    watcher.events.get_nowait()
            watcher.events.put_nowait(None)
            self._forget(watcher)
