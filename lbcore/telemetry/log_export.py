"""Sends the events of the log to a collector of OpenTelemetry. Loads opentelemetry-proto."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque

from lbcore.config.static import OtlpLog
from lbcore.telemetry.collector import Collector, SendError
from lbcore.telemetry.resource import resource_of, scope

INTERVAL_S = 0.5  # between two requests
MOST_EVENTS = 4096  # that wait; the oldest ones give way, and are counted
BATCH = 512  # of one request
# Numbers of OpenTelemetry for the levels of the log, and Traefik's names of these.
SEVERITIES = ((logging.CRITICAL, 21, "fatal"), (logging.ERROR, 17, "error"), (logging.WARNING, 13, "warn"),
              (logging.INFO, 9, "info"), (logging.DEBUG, 5, "debug"), (0, 1, "trace"))  # fmt: skip

_log = logging.getLogger("lbcore.telemetry")


class LogExport(logging.Handler):
    """Keeps events until they are sent. Called from any thread.

    away  why the collector takes nothing now; empty: it does.
    """

    def __init__(self, settings: OtlpLog, collector: Collector) -> None:
        super().__init__()
        self._collector = collector
        self._place = settings.place
        self._resource = resource_of(settings.service_name, settings.resource_attributes)
        self._events: deque[tuple[int, int, str, str, int | None]] = deque()
        self._lock = threading.Lock()
        self._busy = asyncio.Lock()
        self._lost = 0
        self.away = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an event."""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        event = (int(record.created * 1e9), record.levelno, record.name, text, getattr(record, "worker", None))
        with self._lock:
            if len(self._events) >= MOST_EVENTS:
                self._events.popleft()
                self._lost += 1
            self._events.append(event)

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            await asyncio.shield(asyncio.ensure_future(self.drain()))

    async def drain(self) -> None:
        """Send what there is, unless the collector is away."""
        async with self._busy:
            while self._events:
                with self._lock:
                    batch = [self._events.popleft() for _ in range(min(BATCH, len(self._events)))]
                try:
                    await self._collector.send(self._request(batch))
                except SendError as error:
                    self._note_failure(batch, error)
                    return
                if self.away:
                    self.away = ""
                    lost, self._lost = self._lost, 0
                    _log.warning("log: the collector %s takes events again; %d are lost", self._place, lost)

    def _note_failure(self, batch: list[tuple[int, int, str, str, int | None]], error: SendError) -> None:
        with self._lock:
            if error.again and len(self._events) + len(batch) <= MOST_EVENTS:
                self._events.extendleft(reversed(batch))
            else:
                self._lost += len(batch)
        was_away, self.away = self.away, f"log: the collector {self._place} does not take events: {error}"
        if not was_away:
            _log.error("%s", self.away)

    def _request(self, batch: list[tuple[int, int, str, str, int | None]]) -> bytes:
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

        request = ExportLogsServiceRequest()
        resource = request.resource_logs.add()
        resource.resource.CopyFrom(self._resource)
        scoped = resource.scope_logs.add()
        scoped.scope.CopyFrom(scope())
        for created_ns, level, name, text, worker in batch:
            record = scoped.log_records.add()
            record.time_unix_nano = created_ns
            record.observed_time_unix_nano = time.time_ns()
            number, severity = next((number, text) for least, number, text in SEVERITIES if level >= least)
            record.severity_number = number
            record.severity_text = severity
            record.body.string_value = text.encode(errors="replace").decode()
            attribute = record.attributes.add()
            attribute.key, attribute.value.string_value = "logger", name
            if worker is not None:
                attribute = record.attributes.add()
                attribute.key, attribute.value.int_value = "worker", worker
        encoded: bytes = request.SerializeToString()
        return encoded
