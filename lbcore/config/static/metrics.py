"""`metrics`: counters for Prometheus, and for what they are sent to. No I/O."""

import re
from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from lbcore.config.model import Model, keys
from lbcore.config.static.otlp import SERVICE_NAME, Otlp
from lbcore.config.units import NONE, Duration, seconds

MOST_HEADER_LABELS = 8
OWN_LABELS = ("code", "method", "protocol", "entrypoint", "router", "service")
MOST_BOUNDS = 27  # of durations, in all that is configured together
Bounds = Annotated[list[Annotated[float, Field(ge=0)]], Field(max_length=MOST_BOUNDS)]
USUAL_BUCKETS = [0.1, 0.3, 1.2, 5.0]  # in Traefik, an empty list stands for them, too
# Of the durations of those that know no histogram: what they get is as exact as these are close to each other.
DURATION_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def label_of(name: str) -> str:
    """The label as Prometheus knows it: everything but letters, digits and _ is _, and so is a digit that is first."""
    return re.sub(r"^[^A-Za-z_]|[^A-Za-z0-9_]", "_", name)


class Labels(Model):
    """By what requests are counted."""

    add_entry_points_labels: bool = True
    add_routers_labels: bool = False
    add_services_labels: bool = True

    @property
    def bounds(self) -> list[float]:
        """Upper bounds of the histogram of durations, in seconds."""
        return list(DURATION_BOUNDS)


class Prometheus(Labels):
    """GET /metrics on `entryPoint`; buckets of the durations' histogram in seconds.

    headerLabels  labels that `requests_total` has beside its own, and the headers whose values they have.
    """

    may_be_empty: ClassVar[bool] = True

    buckets: Bounds = USUAL_BUCKETS
    entry_point: str = "traefik"
    manual_routing: bool = False
    header_labels: dict[str, str] = {}

    @field_validator("header_labels")
    @classmethod
    def _labels(cls, value: dict[str, str]) -> dict[str, str]:
        if len(value) > MOST_HEADER_LABELS:
            raise ValueError(f"{len(value)} labels: {MOST_HEADER_LABELS} at most")
        shown: dict[str, str] = {}
        for label in value:
            name = label_of(label)
            if name in OWN_LABELS:
                raise ValueError(f"{label!r} is a label that requests have anyway: choose another name")
            if not name or name.startswith("__"):
                raise ValueError(f"{label!r} is no name of a label")
            if name in shown:
                raise ValueError(f"{label!r} and {shown[name]!r} are the same label, {name}")
            shown[name] = label
        return value

    @property
    def bounds(self) -> list[float]:
        return sorted(self.buckets or USUAL_BUCKETS)


class Pushed(Labels):
    """What is sent every `pushInterval`."""

    may_be_empty: ClassVar[bool] = True

    push_interval: Duration = seconds(10)

    @field_validator("push_interval")
    @classmethod
    def _some_time(cls, value: object) -> object:
        if value == NONE:
            raise ValueError("it has to be longer than 0")
        return value


class OtlpMetrics(Otlp, Pushed):
    """A collector of OpenTelemetry."""

    explicit_boundaries: Bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]
    service_name: str = SERVICE_NAME
    resource_attributes: dict[str, str] = {}

    @property
    def bounds(self) -> list[float]:
        return sorted(self.explicit_boundaries)


class StatsD(Pushed):
    """A server of StatsD, over UDP. Its names have no labels: requests are counted over all of them."""

    address: str = "localhost:8125"
    prefix: str = "traefik"


class Datadog(Pushed):
    """An agent of Datadog, over UDP, or at `unix://PATH`. Empty: where `DD_AGENT_HOST` and `DD_DOGSTATSD_PORT` say."""

    address: str = ""
    prefix: str = "traefik"


class InfluxDB2(Pushed):
    """An InfluxDB of version 2. `token` is a text, or a file."""

    address: str = "http://localhost:8086"
    token: str = Field(default="", repr=False)
    org: str = ""
    bucket: str = ""
    additional_labels: dict[str, str] = {}


class Metrics(Model):
    """`addInternals`: count what lbcore answers itself, too (ping, API, metrics, redirections)."""

    ignored = keys("influxDB", "gone since Traefik 3: let a collector read metrics.prometheus")

    add_internals: bool = False
    prometheus: Prometheus | None = None
    otlp: OtlpMetrics | None = None
    stats_d: StatsD | None = None
    datadog: Datadog | None = None
    influx_db2: InfluxDB2 | None = Field(default=None, alias="influxDB2")

    @property
    def pushed(self) -> dict[str, Pushed]:
        """What is sent, by key."""
        found = {"otlp": self.otlp, "statsD": self.stats_d, "datadog": self.datadog, "influxDB2": self.influx_db2}
        return {key: each for key, each in found.items() if each is not None}

    @property
    def targets(self) -> list[Labels]:
        """All that want requests counted."""
        return [*self.pushed.values(), *([self.prometheus] if self.prometheus is not None else [])]

    @property
    def bounds(self) -> list[float]:
        """The bounds of all of them together, ascending."""
        return sorted({bound for each in self.targets for bound in each.bounds})

    @model_validator(mode="after")
    def _few_bounds(self) -> "Metrics":
        if len(self.bounds) > MOST_BOUNDS:
            text = (
                f"{len(self.bounds)} different bounds of durations in prometheus.buckets, otlp.explicitBoundaries and"
            )
            raise ValueError(f"{text} those of what else is configured: {MOST_BOUNDS} at most")
        return self
