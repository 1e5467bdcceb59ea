"""The observation of the requests of one worker, as configured: its counters and its part of the access log."""

from __future__ import annotations

import logging
import os

from lbcore.config.static import StaticConfig
from lbcore.observability.access_log import AccessLog
from lbcore.observability.header_labels import HeaderLabels
from lbcore.observability.observer import Observer
from lbcore.observability.ring import LineReader
from lbcore.observability.series import Series
from lbcore.observability.tap import Tap
from lbcore.observability.tracer import PROPAGATORS, Tracer
from lbcore.observability.writer import LogWriter, Say
from lbcore.state.region import Region

_log = logging.getLogger("lbcore.proxy")

USUAL = ("tracecontext", "baggage")
LOG_WAIT_S = 0.02  # a line of the access log waits this long for older lines of other workers


def propagators() -> list[str]:
    """Those that `OTEL_PROPAGATORS` names, in its order, as Traefik reads it: by default, and where none of them is
    known, those of W3C; no one, where one of them is `none`."""
    text = os.environ.get("OTEL_PROPAGATORS", "") or ",".join(USUAL)
    names = dict.fromkeys(name.strip() for name in text.split(","))
    for unknown in (name for name in names if name not in PROPAGATORS):
        _log.warning("OTEL_PROPAGATORS: %s is not known; known are %s", unknown, ", ".join(PROPAGATORS))
    if "none" in names:
        return []
    return [name for name in names if name in PROPAGATORS] or [*USUAL]


class Watch:
    """The observer and the tracer of one worker.

    observer  for the engine; None = requests are neither counted nor logged.
    tracer    likewise; None = no request is traced.
    tap       likewise; None = nobody can watch single requests, for there is no API.
    say       a function of log level and text, called on the thread that writes the access log.
    Raises OSError when the access log cannot be opened.
    """

    def __init__(self, static: StaticConfig, region: Region, worker: int, say: Say) -> None:
        metrics = static.metrics if static.metrics is not None and static.metrics.targets else None
        settings = static.access_log
        self.observer: Observer | None = None
        self.tap = Tap(static, region, worker) if static.api is not None else None
        self.tracer: Tracer | None = None
        if static.tracing is not None:
            self.tracer = Tracer(static.tracing, region, worker, propagators())
        self._writer: LogWriter | None = None
        self._is_for_attempts = False  # the observer is there for nothing else
        tells_attempts = _log.isEnabledFor(logging.DEBUG)
        if metrics is None and settings is None:
            self._is_for_attempts = True
            self.observer = _of_attempts() if tells_attempts else None
            return
        series = Series(region, worker, metrics.bounds) if metrics is not None else None
        labels: HeaderLabels | None = None
        if metrics is not None and metrics.prometheus is not None and metrics.prometheus.header_labels:
            labels = HeaderLabels(region, worker, list(metrics.prometheus.header_labels.values()))
        log: AccessLog | None = None
        if settings is not None:
            log = lines = AccessLog(settings, region, worker)
        if log is not None and settings is not None and settings.writes_lines:
            self._writer = LogWriter(
                settings.file_path,
                region.fd,
                LineReader(region),
                lambda: lines.pending_bytes,
                lambda: region.log_lines_lost,
                1.0 if settings.buffering_size else LOG_WAIT_S,
                say,
            )
        if metrics is None:
            self.observer = Observer(series, log, False, False, False, tells_attempts)
        else:
            self.observer = Observer(
                series,
                log,
                any(each.add_entry_points_labels for each in metrics.targets),
                any(each.add_routers_labels for each in metrics.targets),
                any(each.add_services_labels for each in metrics.targets),
                tells_attempts,
                labels,
            )

    def follow_log_level(self) -> bool:
        """Tell of attempts at DEBUG, and at no other level. Returns whether `observer` is another one now."""
        told = _log.isEnabledFor(logging.DEBUG)
        if not self._is_for_attempts:
            assert self.observer is not None
            self.observer.tell_attempts(told)
            return False
        if told == (self.observer is not None):
            return False
        self.observer = _of_attempts() if told else None
        return True

    def reopen(self) -> None:
        """Reopen the access log, because its file was moved aside."""
        if self._writer is not None:
            self._writer.reopen()

    def close(self) -> None:
        """Write the pending lines, and stop. Safe to call twice."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _of_attempts() -> Observer:
    """An observer that tells of attempts alone."""
    return Observer(None, None, False, False, False, True)
