"""Metrics that are sent: what a collector of OpenTelemetry, StatsD, Datadog and InfluxDB get."""

from __future__ import annotations

import contextlib
import http.server
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbcore.config.static import StaticConfig
from lbcore.telemetry.agent import telemetry_problems
from lbcore.telemetry.points import Histogram
from tests.support.instance import eventually
from tests.support.otlp import grpc_collector, http_collector
from tests.support.recorder import config, recorders
from tests.support.wire import Edge, edge

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"


@contextlib.contextmanager
def counted(**metrics: Any) -> Iterator[Edge]:
    """A proxy that sends metrics, and has been asked three times."""
    with recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        dynamic["http"]["routers"]["all"]["entryPoints"] = ["web"]
        points = {"web": {"address": "127.0.0.1:0"}}
        with edge(dynamic, points, {"metrics": metrics}) as lb:
            for request in (GET, GET, POST):
                lb.ask(request)
            yield lb


class Datagrams:
    """What has come over UDP, or a Unix socket, by lines."""

    def __init__(self, path: str = "") -> None:
        self.sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(path or ("127.0.0.1", 0))
        self.address = f"unix://{path}" if path else f"127.0.0.1:{self.sock.getsockname()[1]}"
        self.lines: list[str] = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.sock.recv(65536):
                self.lines += data.decode().split("\n")

    def count(self, name: str, tags: str = "") -> float:
        """What counts of a name, with tags of Datadog, come to: requests may be told of in several intervals."""
        rest = f"|c|#{tags}" if tags else "|c"
        return sum(
            float(line[len(name) + 1 : -len(rest)])
            for line in list(self.lines)
            if line.startswith(f"{name}:") and line.endswith(rest)
        )

    def wait(self, name: str, count: int, tags: str = "") -> None:
        eventually(lambda: self.count(name, tags) == count, f"{count} of {name}")

    def __enter__(self) -> Datagrams:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


def test_statsd_gets_what_has_changed() -> None:
    with Datagrams() as server:
        with counted(statsD={"address": server.address, "pushInterval": "100ms", "addRoutersLabels": True}):
            server.wait("traefik.entrypoint.request.total", 3)
            server.wait("traefik.service.request.total", 3)
            server.wait("traefik.router.request.total", 3)
            server.wait("traefik.service.requests.bytes.total", 5)
            server.wait("traefik.config.reload.total", 1)
            eventually(lambda: server.lines.count("traefik.open.connections:0|g") > 2, "several times")
        # What was counted is sent once, and each request has a duration, in milliseconds.
        assert server.count("traefik.service.request.total") == 3
        durations = [line for line in server.lines if line.startswith("traefik.service.request.duration:")]
        assert len(durations) == 3
        assert all(line.endswith("|ms") and float(line.split(":")[1].split("|")[0]) > 0 for line in durations)


def test_what_is_left_is_sent_at_the_end() -> None:
    with Datagrams() as server:
        with counted(statsD={"address": server.address, "prefix": "edge", "addServicesLabels": False}):
            pass
        server.wait("edge.entrypoint.request.total", 3)
        assert not [line for line in server.lines if line.startswith(("edge.service.request", "edge.router"))]


@pytest.mark.parametrize("family", ["udp", "unix"])
def test_datadog_gets_labels_as_tags(tmp_path: Path, family: str) -> None:
    with Datagrams(str(tmp_path / "agent") if family == "unix" else "") as server:
        with counted(datadog={"address": server.address, "pushInterval": "100ms"}):
            server.wait("traefik.service.request.total", 2, "code:200,method:GET,protocol:http,service:all_file")
            server.wait("traefik.entrypoint.request.total", 1, "code:200,method:POST,protocol:http,entrypoint:web")
            server.wait("traefik.config.reload.total", 1)
        durations = [line for line in server.lines if line.startswith("traefik.service.request.duration:")]
        assert len(durations) == 3
        assert {line.split("|")[1] for line in durations} == {"h"}


def test_the_agent_of_datadog_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with Datagrams() as server:
        host, _, port = server.address.rpartition(":")
        monkeypatch.setenv("DD_AGENT_HOST", host)
        monkeypatch.setenv("DD_DOGSTATSD_PORT", port)
        with counted(datadog={}):
            pass
        server.wait("traefik.config.reload.total", 1)


@contextlib.contextmanager
def influx() -> Iterator[tuple[str, list[tuple[str, dict[str, str], str]]]]:
    """What stands for an InfluxDB: the paths, headers and bodies that it gets."""
    found: list[tuple[str, dict[str, str], str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            found.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", found
    finally:
        server.shutdown()
        server.server_close()


def test_influxdb_gets_each_field_in_one_type() -> None:
    """It refuses an integer where a float came first."""
    with influx() as (url, found):
        settings = {"address": url, "token": "t", "org": "o", "bucket": "b", "pushInterval": "100ms"}
        with counted(influxDB2=settings) as lb:

            def counts() -> list[str]:
                lines = [line for _, _, body in found for line in body.splitlines()]
                return [line.split()[1] for line in lines if line.startswith("traefik.entrypoint.requests.total,")]

            eventually(lambda: counts(), "the first ones are told")
            told = len(counts())
            lb.ask(GET)
            eventually(lambda: len(counts()) > told, "what follows is told")
        texts = [line.split()[1] for _, _, body in found for line in body.splitlines()]
        assert [text for text in texts if re.search(r"=\d+i\b", text)] == []


def test_influxdb_gets_fields(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    with influx() as (url, found):
        settings = {
            "address": url,
            "token": str(tmp_path / "token"),
            "org": "o",
            "bucket": "b",
            "additionalLabels": {"site": "one"},
        }
        with counted(influxDB2={**settings, "pushInterval": "100ms"}):
            eventually(lambda: any("POST" in body for _, _, body in found), "all three are there")
        path, headers, _ = found[0]
        assert path.startswith("/api/v2/write?")
        assert {"org=o", "bucket=b"} <= set(path.partition("?")[2].split("&"))
        assert headers["authorization"] == "Token secret"
        lines = [line for _, _, body in found for line in body.splitlines()]
        tags = "code=200,method=GET,protocol=http,service=all@file,site=one"
        counts = [line.split()[1] for line in lines if line.startswith(f"traefik.service.requests.total,{tags} ")]
        assert sum(float(each.removeprefix("count=")) for each in counts) == 2
        durations = [line for line in lines if line.startswith(f"traefik.service.request.duration,{tags} ")]
        assert all(f"p{part}=" in line for part in (50, 90, 95, 99) for line in durations)
        assert durations
        assert any(line.startswith("traefik.open.connections,") and " value=0" in line for line in lines)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_collector_gets_all_metrics(protocol: str) -> None:
    with http_collector() if protocol == "http" else grpc_collector() as collector:
        place = {"endpoint": collector.url} if protocol == "http" else {"endpoint": collector.address, "insecure": True}
        more = {"serviceName": "edge", "explicitBoundaries": [60, 0.000001], "pushInterval": "100ms"}
        with counted(otlp={protocol: place, **more}, prometheus={"buckets": [0.5], "entryPoint": "web"}):
            eventually(lambda: "lbcore_service_requests_total" in collector.metrics, "metrics")
            eventually(lambda: len(collector.metrics["lbcore_service_requests_total"]) == 2, "all three requests")
        found = collector.metrics
        by_method = {labels["method"]: point for labels, point in found["lbcore_service_requests_total"]}
        assert {method: point.as_double for method, point in by_method.items()} == {"GET": 2, "POST": 1}
        labels, point = next(
            each for each in found["lbcore_service_request_duration_seconds"] if each[0]["method"] == "GET"
        )
        assert labels == {"code": "200", "method": "GET", "protocol": "http", "service": "all@file"}
        assert list(point.explicit_bounds) == [0.000001, 60]
        assert (list(point.bucket_counts), point.count) == ([0, 2, 0], 2)
        assert point.sum > 0
        assert 0 < point.start_time_unix_nano < point.time_unix_nano
        assert found["lbcore_open_connections"][0][1].as_double == 0
        assert "lbcore_router_requests_total" not in found
        resource = collector.requests["metrics"][0].resource_metrics[0].resource
        assert {"service.name": "edge"}.items() <= {
            pair.key: pair.value.string_value for pair in resource.attributes
        }.items()
        sums = [
            metric.sum
            for metric in collector.requests["metrics"][0].resource_metrics[0].scope_metrics[0].metrics
            if metric.name == "lbcore_config_reloads_total"
        ]
        assert (sums[0].is_monotonic, sums[0].aggregation_temporality) == (True, 2)


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"statsD": {"pushInterval": "0s"}}, "longer than 0"),
        ({"prometheus": {"buckets": [n / 7 for n in range(1, 24)]}, "otlp": {}}, "different bounds of durations"),
        ({"prometheus": {"headerLabels": {"code": "X-A"}}}, "'code' is a label that requests have anyway"),
        ({"prometheus": {"headerLabels": {"__a": "X-A"}}}, "'__a' is no name of a label"),
        ({"prometheus": {"headerLabels": {"a-b": "X-A", "a_b": "X-A"}}}, "'a_b' and 'a-b' are the same label, a_b"),
        ({"prometheus": {"headerLabels": {str(n): "X-A" for n in range(9)}}}, "9 labels: 8 at most"),
    ],
)
def test_what_cannot_be(metrics: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        StaticConfig.model_validate({"metrics": metrics})


def test_what_a_start_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    incomplete = StaticConfig.model_validate({"metrics": {"influxDB2": {"token": "a", "org": "b"}}})
    assert [str(problem) for problem in telemetry_problems(incomplete)] == [
        "metrics.influxDB2: token, org or bucket property is missing"
    ]
    all_of_them = {"otlp": {}, "statsD": {}, "datadog": {}, "influxDB2": {"token": "a", "org": "b", "bucket": "c"}}
    static = StaticConfig.model_validate({"metrics": all_of_them, "tracing": {"otlp": {"grpc": {"insecure": True}}}})
    assert telemetry_problems(static) == []
    for module in ("opentelemetry.proto", "statsd", "datadog", "influxdb_client"):
        monkeypatch.setitem(sys.modules, module, None)
    assert [str(problem) for problem in telemetry_problems(static)] == [
        f"{place}: needs the package {package}, which is missing (type: pip install 'lbcore[{extra}]')"
        for place, package, extra in (
            ("tracing.otlp", "opentelemetry-proto", "otlp"),
            ("metrics.otlp", "opentelemetry-proto", "otlp"),
            ("metrics.statsD", "statsd", "statsd"),
            ("metrics.datadog", "datadog", "datadog"),
            ("metrics.influxDB2", "influxdb-client", "influxdb"),
        )
    ]


def test_durations_of_a_histogram() -> None:
    histogram = Histogram([0.1, 0.2, float("inf")], [10, 30, 60])
    assert histogram.quantile(0.05) == pytest.approx(0.05)
    assert histogram.quantile(0.25) == pytest.approx(0.15)
    assert histogram.quantile(0.99) == 0.2
    assert sorted(histogram.values(1000)) == list(histogram.values(1000))
    assert len(list(histogram.values(1000))) == 100
    few = list(histogram.values(10))
    assert (len(few), sum(value < 0.1 for value in few)) == (10, 1)
