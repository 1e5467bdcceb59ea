"""Sends metrics to servers of StatsD, agents of Datadog and InfluxDB. Each loads its library."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
from collections.abc import Iterator
from typing import Any, Protocol

from prometheus_client.core import Metric

from lbcore.api.prometheus import RequestCollector
from lbcore.api.runtime import Runtime
from lbcore.config.static import Datadog, InfluxDB2, Metrics, OtlpMetrics, Pushed, StatsD
from lbcore.errors import ConfigError, Problem
from lbcore.telemetry.collector import SendError, problems_of
from lbcore.telemetry.otlp_metrics import OtlpSink
from lbcore.telemetry.points import Changes, Histogram, Point

MOST_TIMINGS = 200  # values that stand for the durations of an interval, of one name or series
DATAGRAM_BYTES = 1432
# Package, and module, that each needs.
LIBRARIES = {
    "statsD": ("statsd", "statsd"),
    "datadog": ("datadog", "datadog"),
    "influxDB2": ("influxdb-client", "influxdb_client"),
}
EXTRAS = {"statsD": "statsd", "datadog": "datadog", "influxDB2": "influxdb"}

_log = logging.getLogger("lbcore.telemetry")


class Sink(Protocol):
    """Where metrics go. Called on a thread."""

    def send(self, families: Iterator[Metric]) -> None:
        """Send them. Raises OSError or SendError."""

    def close(self) -> None:
        """Close what is open."""


def host_and_port(address: str, default: int) -> tuple[str, int]:
    """The parts of `host:port`, `host` or `[address]:port`."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        host, port = address, str(default)
    return host.strip("[]") or "localhost", int(port)


class StatsDSink:
    """Names have no labels: counts are those over all of them."""

    def __init__(self, settings: StatsD) -> None:
        self._prefix = settings.prefix or "traefik"
        self._address = host_and_port(settings.address, 8125)
        self._changes = Changes()
        self._client: Any = None

    def send(self, families: Iterator[Metric]) -> None:
        import statsd

        if self._client is None:
            host, port = self._address
            ipv6 = ":" in host
            self._client = statsd.StatsClient(host, port, self._prefix, maxudpsize=DATAGRAM_BYTES, ipv6=ipv6)
        counts: dict[str, float] = {}
        durations: dict[str, Histogram] = {}
        with self._client.pipeline() as pipe:
            for point in self._changes.points(families):
                if point.kind == "gauge":
                    pipe.gauge(point.name, point.value)
                elif point.kind == "count":
                    counts[point.name] = counts.get(point.name, 0) + point.value
                else:
                    durations.setdefault(point.name, Histogram()).add(point.histogram)
            for name, count in counts.items():
                pipe.incr(name, int(count))
            for name, histogram in durations.items():
                for value in histogram.values(MOST_TIMINGS):
                    pipe.timing(name, value * 1000)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


class DatadogSink:
    """Labels are tags."""

    def __init__(self, settings: Datadog, environ: dict[str, str]) -> None:
        self._prefix = settings.prefix or "traefik"
        agent, port = environ.get("DD_AGENT_HOST", "localhost"), environ.get("DD_DOGSTATSD_PORT", "8125")
        self._address = settings.address or f"{agent}:{port}"
        self._changes = Changes()
        self._client: Any = None

    def _open(self) -> Any:
        from datadog.dogstatsd.base import DogStatsd

        settings: dict[str, Any] = {"disable_telemetry": True, "disable_buffering": False, "flush_interval": 0.3}
        if self._address.startswith(("unix://", "unixgram://", "unixstream://")):
            settings["socket_path"] = self._address
        else:
            settings["host"], settings["port"] = host_and_port(self._address, 8125)
        return DogStatsd(namespace=self._prefix, **settings)

    def send(self, families: Iterator[Metric]) -> None:
        if self._client is None:
            self._client = self._open()
        client = self._client
        for point in self._changes.points(families):
            tags = [f"{key}:{value}" for key, value in point.labels.items()]
            if point.kind == "gauge":
                client.gauge(point.name, point.value, tags=tags)
            elif point.kind == "count":
                client.increment(point.name, int(point.value), tags=tags)
            else:
                for value in point.histogram.values(MOST_TIMINGS):
                    client.histogram(point.name, value, tags=tags)
        client.flush()

    def close(self) -> None:
        if self._client is not None:
            self._client.stop()
            self._client.close_socket()


class InfluxSink:
    """Labels are tags; a count has the field `count`, a gauge `value`, durations `p50`, `p90`, `p95` and `p99`."""

    def __init__(self, settings: InfluxDB2) -> None:
        from influxdb_client.client.influxdb_client import InfluxDBClient

        if not (settings.token and settings.org and settings.bucket):
            raise ConfigError([Problem("metrics.influxDB2", "token, org or bucket property is missing")])
        self._bucket = settings.bucket
        self._more = settings.additional_labels
        token = settings.token
        if os.path.isfile(token):
            try:
                with open(token) as file:
                    token = file.read().strip()
            except OSError as error:
                raise ConfigError([Problem("metrics.influxDB2.token", f"cannot be read: {error.strerror}")]) from None
        self._client: Any = InfluxDBClient(settings.address, token, org=settings.org, timeout=10_000)
        self._changes = Changes()

    def _fields(self, point: Point) -> dict[str, float]:
        # An InfluxDB refuses a field of another type than that which came first, and Traefik sends floats alone.
        if point.kind == "count":
            return {"count": float(point.value)}
        if point.kind == "gauge":
            return {"value": float(point.value)}
        return {f"p{part}": point.histogram.quantile(part / 100) for part in (50, 90, 95, 99)}

    def send(self, families: Iterator[Metric]) -> None:
        from influxdb_client.client.write_api import SYNCHRONOUS

        points = [
            {
                "measurement": f"traefik.{point.name.replace('.request.t', '.requests.t')}",
                "tags": {**self._more, **point.labels},
                "fields": self._fields(point),
            }
            for point in self._changes.points(families)
        ]
        with self._client.write_api(write_options=SYNCHRONOUS) as api:
            try:
                api.write(self._bucket, record=points)
            except Exception as error:  # of its own, and of urllib3
                reason = getattr(error, "reason", None) or error
                raise SendError(" ".join(str(reason).split())[:200], again=True) from None

    def close(self) -> None:
        self._client.close()


def sink_of(settings: Pushed, started_unix_s: float) -> Sink:
    """What sends by some settings. Raises ConfigError."""
    if isinstance(settings, OtlpMetrics):
        return OtlpSink(settings, started_unix_s)
    if isinstance(settings, StatsD):
        return StatsDSink(settings)
    if isinstance(settings, Datadog):
        return DatadogSink(settings, dict(os.environ))
    assert isinstance(settings, InfluxDB2)
    return InfluxSink(settings)


def push_problems(metrics: Metrics) -> list[Problem]:
    """What is wrong with the places to which metrics are sent."""
    found = []
    for key, settings in metrics.pushed.items():
        place = f"metrics.{key}"
        if isinstance(settings, OtlpMetrics):
            found += problems_of(place, settings)
            continue
        package, module = LIBRARIES[key]
        try:
            importlib.import_module(module)
            sink: Sink = sink_of(settings, 0.0)
            sink.close()
        except ImportError:
            hint = f"type: pip install 'lbcore[{EXTRAS[key]}]'"
            found.append(Problem(place, f"needs the package {package}, which is missing", hint))
        except ConfigError as error:
            found += error.problems
    return found


class Push:
    """Sends metrics to one place, every `pushInterval`. `away`: why they cannot be sent now; empty: they can."""

    def __init__(self, key: str, settings: Pushed, runtime: Runtime) -> None:
        self._key = key
        self._settings = settings
        self._runtime = runtime
        self._collector = RequestCollector(runtime, settings)
        self._sink = sink_of(settings, runtime.started_unix_s)
        self._busy = asyncio.Lock()
        self.away = ""

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await asyncio.sleep(self._settings.push_interval.total_seconds())
            await asyncio.shield(asyncio.ensure_future(self.push()))

    async def push(self) -> None:
        """Send what there is now, if there is a configuration."""
        if self._runtime.table is None:
            return
        async with self._busy:
            try:
                await asyncio.to_thread(lambda: self._sink.send(self._collector.collect()))
            except (OSError, SendError) as error:
                was_away, self.away = self.away, f"metrics.{self._key}: they cannot be sent: {error}"
                if not was_away:
                    _log.error("%s", self.away)
            except Exception as error:  # of a library, which is no reason to stop
                _log.error("metrics.%s: internal error", self._key, exc_info=error)
            else:
                if self.away:
                    _log.warning("metrics.%s: they are sent again", self._key)
                self.away = ""

    def close(self) -> None:
        """Close what is open."""
        self._sink.close()
