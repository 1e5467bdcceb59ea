"""Sends metrics to a collector of OpenTelemetry, by the names that Prometheus has for them.

Loads opentelemetry-proto.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client.core import Metric

from lbcore.config.static import OtlpMetrics
from lbcore.telemetry.collector import collector_of
from lbcore.telemetry.resource import resource_of, scope

if TYPE_CHECKING:
    from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint


class OtlpSink:
    """Sums and histograms are those since the start of the instance."""

    def __init__(self, settings: OtlpMetrics, started_unix_s: float) -> None:
        self._collector = collector_of("metrics.otlp", settings, "metrics")
        self._resource = resource_of(settings.service_name, settings.resource_attributes)
        self._started_ns = int(started_unix_s * 1e9)

    def send(self, families: Iterator[Metric]) -> None:
        """Send them. Raises SendError."""
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        request = ExportMetricsServiceRequest()
        resource = request.resource_metrics.add()
        resource.resource.CopyFrom(self._resource)
        scoped = resource.scope_metrics.add()
        scoped.scope.CopyFrom(scope())
        now_ns = time.time_ns()
        for family in families:
            if family.samples:
                self._add(scoped.metrics.add(), family, now_ns)
        self._collector.post(request.SerializeToString())

    def _add(self, metric: Any, family: Metric, now_ns: int) -> None:
        metric.description = family.documentation
        metric.unit = "s" if family.name.endswith("_seconds") else "1"
        if family.type == "histogram":
            metric.name = family.name
            metric.histogram.aggregation_temporality = 2  # cumulative
            points: dict[tuple[str, ...], HistogramDataPoint] = {}
            for sample in family.samples:
                labels = {key: value for key, value in sample.labels.items() if key != "le"}
                key = tuple(labels.values())
                if key not in points:
                    points[key] = metric.histogram.data_points.add()
                    self._fill(points[key], labels.items(), now_ns)
                point = points[key]
                if sample.name.endswith("_bucket"):
                    if sample.labels["le"] != "+Inf":
                        point.explicit_bounds.append(float(sample.labels["le"]))
                    point.bucket_counts.append(int(sample.value) - sum(point.bucket_counts))
                elif sample.name.endswith("_count"):
                    point.count = int(sample.value)
                elif sample.name.endswith("_sum"):
                    point.sum = sample.value
            return
        if family.type == "counter":
            metric.name = f"{family.name}_total"
            metric.sum.aggregation_temporality = 2
            metric.sum.is_monotonic = True
            target = metric.sum.data_points
        else:
            metric.name = family.name
            target = metric.gauge.data_points
        for sample in family.samples:
            point = target.add()
            self._fill(point, sample.labels.items(), now_ns)
            point.as_double = sample.value

    def _fill(self, point: Any, labels: Iterable[tuple[str, str]], now_ns: int) -> None:
        point.start_time_unix_nano = self._started_ns
        point.time_unix_nano = now_ns
        for key, value in labels:
            pair = point.attributes.add()
            pair.key = key
            pair.value.string_value = value

    def close(self) -> None:
        """Close the connections."""
        self._collector.close()
