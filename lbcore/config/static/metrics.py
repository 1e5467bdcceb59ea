"""`metrics`: counters for Prometheus. No I/O."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from lbcore.config.model import Model, keys


class Prometheus(Model):
    """GET /metrics on `entryPoint`; buckets of the durations' histogram in seconds."""

    missing = keys("headerLabels", "count by routers: addRoutersLabels")
    may_be_empty: ClassVar[bool] = True

    buckets: Annotated[list[Annotated[float, Field(gt=0)]], Field(max_length=11)] = [0.1, 0.3, 1.2, 5.0]
    add_entry_points_labels: bool = True
    add_routers_labels: bool = False
    add_services_labels: bool = True
    entry_point: str = "traefik"
    manual_routing: bool = False


class Metrics(Model):
    """`addInternals`: count what lbcore answers itself, too (ping, API, metrics, redirections)."""

    missing = keys("datadog statsD influxDB2 otlp", "let a collector read metrics.prometheus")
    ignored = keys("influxDB", "gone since Traefik 3: let a collector read metrics.prometheus")

    add_internals: bool = False
    prometheus: Prometheus | None = None
