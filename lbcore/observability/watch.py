"""The observation of the requests of one worker, as configured: its counters and its part of the access log."""

from __future__ import annotations

import logging

from lbcore.config.static import StaticConfig
from lbcore.observability.access_log import AccessLog
from lbcore.observability.observer import Observer
from lbcore.observability.ring import LineReader
from lbcore.observability.series import Series
from lbcore.observability.writer import LogWriter, Say
from lbcore.state.region import Region

_log = logging.getLogger("lbcore.proxy")

LOG_WAIT_S = 0.02  # a line of the access log waits this long for older lines of other workers


class Watch:
    """There is one per worker.

    observer  for the engine; None = requests are neither counted nor logged.
    say       a function of log level and text, called on the thread that writes the access log.
    Raises OSError when the access log cannot be opened.
    """

    def __init__(self, static: StaticConfig, region: Region, worker: int, say: Say) -> None:
        prometheus = static.metrics.prometheus if static.metrics is not None else None
        settings = static.access_log
        self.observer: Observer | None = None
        self._writer: LogWriter | None = None
        tells_retries = _log.isEnabledFor(logging.DEBUG)
        if prometheus is None and settings is None and not tells_retries:
            return
        series = Series(region, worker, prometheus.buckets) if prometheus is not None else None
        log: AccessLog | None = None
        if settings is not None:
            log = lines = AccessLog(settings, region, worker)
            self._writer = LogWriter(
                settings.file_path,
                region.fd,
                LineReader(region),
                lambda: lines.pending_bytes,
                lambda: region.log_lines_lost,
                1.0 if settings.buffering_size else LOG_WAIT_S,
                say,
            )
        if prometheus is None:
            self.observer = Observer(series, log, False, False, False, tells_retries)
        else:
            self.observer = Observer(
                series,
                log,
                prometheus.add_entry_points_labels,
                prometheus.add_routers_labels,
                prometheus.add_services_labels,
                tells_retries,
            )

    def reopen(self) -> None:
        """Reopen the access log, because its file was moved aside."""
        if self._writer is not None:
            self._writer.reopen()

    def close(self) -> None:
        """Write the pending lines, and stop. Safe to call twice."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
