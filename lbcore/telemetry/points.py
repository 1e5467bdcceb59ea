"""Metrics as Traefik names them where they are sent, with what has changed since they were sent last. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client.core import Metric

Kind = Literal["count", "gauge", "durations"]
NAMES = {
    "lbcore_config_reloads": "config.reload.total",
    "lbcore_config_last_reload_success": "config.reload.lastSuccessTimestamp",
    "lbcore_open_connections": "open.connections",
    "lbcore_tls_certs_not_after": "tls.certs.notAfterTimestamp",
    "lbcore_service_retries": "service.retries.total",
    "lbcore_service_server_up": "service.server.up",
}
for _kind in ("entrypoint", "router", "service"):
    NAMES |= {
        f"lbcore_{_kind}_requests": f"{_kind}.request.total",
        f"lbcore_{_kind}_requests_tls": f"{_kind}.request.tls.total",
        f"lbcore_{_kind}_request_duration_seconds": f"{_kind}.request.duration",
        f"lbcore_{_kind}_requests_bytes": f"{_kind}.requests.bytes.total",
        f"lbcore_{_kind}_responses_bytes": f"{_kind}.responses.bytes.total",
    }


@dataclass(slots=True)
class Histogram:
    """Durations since the last time: upper bounds in seconds, the last one infinite, and how many each has."""

    bounds: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    @property
    def count(self) -> int:
        """All of them."""
        return sum(self.counts)

    def add(self, other: Histogram) -> None:
        """Those of another one, with the same bounds."""
        if not self.bounds:
            self.bounds, self.counts = list(other.bounds), [0] * len(other.counts)
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]

    def _edges(self, index: int) -> tuple[float, float]:
        lower = self.bounds[index - 1] if index else 0.0
        upper = self.bounds[index]
        return lower, lower if upper == float("inf") else upper

    def quantile(self, part: float) -> float:
        """The duration below which a part of them is, by interpolation."""
        wanted, seen = part * self.count, 0
        for index, count in enumerate(self.counts):
            if count and seen + count >= wanted:
                lower, upper = self._edges(index)
                return lower + (upper - lower) * (wanted - seen) / count
            seen += count
        return 0.0

    def values(self, most: int) -> Iterator[float]:
        """Durations that stand for all of them, `most` or slightly more; one for each bucket at least that has any."""
        for index, count in enumerate(self.counts):
            number = count if self.count <= most else -(-count * most // self.count)
            lower, upper = self._edges(index)
            for each in range(number):
                yield lower + (upper - lower) * (each + 0.5) / number


@dataclass(frozen=True, slots=True)
class Point:
    """One value. A count, or durations, are those since the last time; a gauge is what it is now."""

    name: str
    kind: Kind
    labels: dict[str, str]
    value: float = 0.0
    histogram: Histogram = field(default_factory=Histogram)


class Changes:
    """Remembers what was sent last."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, tuple[str, ...]], float] = {}
        self._now: dict[tuple[str, tuple[str, ...]], float] = {}

    def _since(self, name: str, labels: tuple[str, ...], value: float) -> float:
        before = self._before.get((name, labels), 0.0)
        self._now[name, labels] = value
        return value - before if value >= before else value

    def points(self, families: Iterable[Metric]) -> Iterator[Point]:
        """The points of the metrics that Traefik has."""
        self._now = {}
        for family in families:
            name = NAMES.get(family.name)
            if name is None:
                continue
            if family.type == "histogram":
                yield from self._durations(name, family)
                continue
            for sample in family.samples:
                labels = tuple(sample.labels.values())
                if family.type == "gauge":
                    yield Point(name, "gauge", sample.labels, sample.value)
                elif changed := self._since(name, labels, sample.value):
                    yield Point(name, "count", sample.labels, changed)
        self._before = self._now

    def _durations(self, name: str, family: Metric) -> Iterator[Point]:
        found: dict[tuple[str, ...], tuple[dict[str, str], list[float], list[int]]] = {}
        for sample in family.samples:
            if not sample.name.endswith("_bucket"):
                continue
            labels = {key: value for key, value in sample.labels.items() if key != "le"}
            _, bounds, counts = found.setdefault(tuple(labels.values()), (labels, [], []))
            below = int(self._since(name, tuple(sample.labels.values()), sample.value))
            bounds.append(float(sample.labels["le"]))
            counts.append(below - sum(counts))
        for labels, bounds, counts in found.values():
            histogram = Histogram(bounds, counts)
            if histogram.count:
                yield Point(name, "durations", labels, histogram=histogram)
