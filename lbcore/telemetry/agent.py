"""Everything that an instance sends to collectors, as configured."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

from lbcore.api.runtime import Runtime
from lbcore.config.static import Otlp, StaticConfig
from lbcore.errors import Problem
from lbcore.observability.ring import RECORDS, SPANS, LineReader
from lbcore.observability.span_encoder import SpanEncoder
from lbcore.state.region import Region
from lbcore.telemetry.collector import Collector, Signal, collector_of, problems_of
from lbcore.telemetry.log_export import LogExport
from lbcore.telemetry.push import Push, push_problems
from lbcore.telemetry.resource import resource_of, scope
from lbcore.telemetry.ring_export import RingExport

FLUSH_S = 5.0  # longest time that the end of an instance waits for collectors, as in Traefik


def telemetry_problems(static: StaticConfig) -> list[Problem]:
    """What is wrong with collectors before the start."""
    found = [problem for place, otlp, _ in otlp_of(static) for problem in problems_of(place, otlp)]
    return [*found, *(push_problems(static.metrics) if static.metrics is not None else [])]


def otlp_of(static: StaticConfig) -> list[tuple[str, Otlp, Signal]]:
    """The collectors of traces and logs, by the place of their settings."""
    found: list[tuple[str, Otlp, Signal]] = []
    if static.tracing is not None:
        found.append(("tracing.otlp", static.tracing.otlp, "traces"))
    if static.access_log is not None and static.access_log.otlp is not None:
        found.append(("accessLog.otlp", static.access_log.otlp, "logs"))
    if static.log.otlp is not None:
        found.append(("log.otlp", static.log.otlp, "logs"))
    return found


class Telemetry:
    """All that one instance sends to collectors. Raises ConfigError for settings that cannot be used."""

    def __init__(self, static: StaticConfig, region: Region, runtime: Runtime) -> None:
        self._collectors: list[Collector] = []
        self.spans: RingExport | None = None
        if static.tracing is not None:
            tracing = static.tracing
            collector = collector_of("tracing.otlp", tracing.otlp, "traces")
            self._collectors.append(collector)
            resource = resource_of(tracing.service_name, tracing.resource_attributes).SerializeToString()
            self.spans = RingExport(
                "spans",
                LineReader(region, SPANS),
                collector,
                tracing.otlp.place,
                resource,
                scope().SerializeToString(),
                SpanEncoder(tracing).encode,
            )
        self.records: RingExport | None = None
        if static.access_log is not None and static.access_log.otlp is not None:
            otlp = static.access_log.otlp
            collector = collector_of("accessLog.otlp", otlp, "logs")
            self._collectors.append(collector)
            resource = resource_of(otlp.service_name, otlp.resource_attributes).SerializeToString()
            encoded = scope().SerializeToString()
            reader = LineReader(region, RECORDS)
            self.records = RingExport("records of the access log", reader, collector, otlp.place, resource, encoded)
        self._log: LogExport | None = None
        if static.log.otlp is not None:
            collector = collector_of("log.otlp", static.log.otlp, "logs")
            self._collectors.append(collector)
            self._log = LogExport(static.log.otlp, collector)
            logging.getLogger().addHandler(self._log)
        pushed = static.metrics.pushed if static.metrics is not None else {}
        self._pushes = [Push(key, settings, runtime) for key, settings in pushed.items()]

    @property
    def spans_sent(self) -> int:
        """Spans that the collector has taken."""
        return self.spans.sent if self.spans is not None else 0

    @property
    def log_records_sent(self) -> int:
        """Records of the access log that the collector has taken."""
        return self.records.sent if self.records is not None else 0

    @property
    def away(self) -> list[str]:
        """What cannot be sent now, and why."""
        exports = [export for export in (self.spans, self.records, self._log) if export is not None]
        return [each.away for each in (*exports, *self._pushes) if each.away]

    async def run(self) -> None:
        """Send until cancelled."""
        await asyncio.gather(*self._services())

    def _services(self) -> list[Coroutine[Any, Any, None]]:
        exports = [export.run() for export in (self.spans, self.records, self._log) if export is not None]
        return [*exports, *(push.run() for push in self._pushes)]

    async def flush(self) -> None:
        """Send what is left, after `run` was cancelled, and close."""
        left = [export.drain() for export in (self.spans, self.records, self._log) if export is not None]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await asyncio.gather(*left, *(push.push() for push in self._pushes))
        if self._log is not None:
            logging.getLogger().removeHandler(self._log)
        for push in self._pushes:
            push.close()
        for collector in self._collectors:
            collector.close()
