"""Sends what workers have put into their rings, spans or records of the access log, to a collector.

What the collector does not take stays in the rings, whose room is limited; what has no room is counted by the workers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from lbcore.observability.ring import LineReader
from lbcore.telemetry.collector import Collector, SendError

INTERVAL_S = 0.25  # between two looks at the rings
LONGEST_PAUSE_S = 30.0  # between two attempts, while the collector is away
MOST_BYTES = 1 << 19  # of a ring's contents in a request, which may grow to some times as much: collectors take 4 MiB
REPORT_S = 60.0  # losses are reported at most once in this time

_log = logging.getLogger("lbcore.telemetry")


def varint(value: int) -> bytes:
    """A number as Protocol Buffers write it."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes) -> bytes:
    """A field with a message, or bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


class RingExport:
    """Empties all rings of one kind.

    what       what is in them, in the plural, for texts.
    place      the collector, for texts.
    resource, scope  encoded messages that go with all that is sent.
    encode     makes of what is in a ring what is sent; None: it is that. Raises ValueError.
    sent       items that the collector has taken.
    away       why the collector takes nothing now; empty: it does.
    """

    def __init__(
        self,
        what: str,
        reader: LineReader,
        collector: Collector,
        place: str,
        resource: bytes,
        scope: bytes,
        encode: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._encode = encode
        self._what = what
        self._reader = reader
        self._collector = collector
        self._place = place
        self._resource = field(1, resource)
        self._scope = field(1, scope)
        self._busy = asyncio.Lock()
        self._pause_s = 0.0
        self._lost = 0
        self._reported_s = -REPORT_S
        self.sent = 0
        self.away = ""

    def _request(self, block: bytes) -> bytes:
        """A request of OTLP: the resource, the scope, and what is exported, each with its tag."""
        if self._encode is not None:
            block = self._encode(block)
        scoped = varint(2 << 3 | 2) + varint(len(self._scope) + len(block))
        length = len(self._resource) + len(scoped) + len(self._scope) + len(block)
        return b"".join([varint(1 << 3 | 2), varint(length), self._resource, scoped, self._scope, block])

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await asyncio.sleep(self._pause_s or INTERVAL_S)
            await asyncio.shield(asyncio.ensure_future(self.drain()))  # what is being sent is not sent once more

    async def drain(self) -> None:
        """Send what is there, unless the collector is away."""
        async with self._busy:
            await self._drain()

    async def _drain(self) -> None:
        while block := self._merged():
            count = self._reader.items
            try:
                await self._collector.send(self._request(block))
            except ValueError as error:
                self._reader.note_lost(count)
                _log.error("%s: internal error", self._what, exc_info=error)
            except SendError as error:
                if error.again:
                    self._note_away(error)
                    return
                self._reader.note_lost(count)
                self._report(count, error)
            else:
                self.sent += count
                if self._pause_s:
                    self._pause_s, self.away = 0.0, ""
                    _log.warning("%s: the collector %s takes them again", self._what, self._place)
            self._reader.release()

    def _merged(self) -> bytes:
        try:
            return self._reader.merge(time.monotonic_ns(), MOST_BYTES)
        except MemoryError:  # tried again later
            return b""

    def _note_away(self, error: SendError) -> None:
        self.away = f"{self._what}: the collector {self._place} does not take them: {error}"
        if not self._pause_s:
            _log.error("%s; they are kept as long as there is room", self.away)
        self._pause_s = min(2 * self._pause_s or INTERVAL_S, LONGEST_PAUSE_S)

    def _report(self, count: int, error: SendError) -> None:
        self._lost += count
        if time.monotonic() >= self._reported_s + REPORT_S:
            self._reported_s = time.monotonic()
            _log.error("%s: %d lost: the collector %s refuses them: %s", self._what, self._lost, self._place, error)
            self._lost = 0
