"""Rotel, a collector that others have made, gets traces, metrics and logs, and passes them on to that of the tests."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import rotel

from tests.support.instance import eventually
from tests.support.otlp import Collector, Span, http_collector
from tests.support.ports import free_ports
from tests.support.recorder import config, recorders
from tests.support.wire import edge

REQUEST = b"GET /x HTTP/1.1\r\nHost: shop.test\r\nX-Case: %s\r\nX-Odd: \xff\r\n\r\n"


@dataclass
class Between:
    """`http`, `grpc`: where it listens. What it passes on comes to `collector`."""

    http: str
    grpc: str
    collector: Collector


@pytest.fixture(scope="module")
def between() -> Iterator[Between]:
    grpc, http = free_ports(2)
    with http_collector() as collector, contextlib.ExitStack() as stack:
        command = [str(Path(rotel.__file__).with_name("rotel-agent")), "start", "--disable-batching"]
        command += [f"--otlp-grpc-endpoint=127.0.0.1:{grpc}", f"--otlp-http-endpoint=127.0.0.1:{http}"]
        command += ["--exporter=otlp", f"--otlp-exporter-endpoint={collector.url}", "--otlp-exporter-protocol=http"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(process.wait, 30)
        stack.callback(process.terminate)
        yield Between(f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}", collector)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_it_takes_all_that_is_sent(between: Between, protocol: str) -> None:
    """It refuses what is not encoded as it should be; what it takes is as it was sent."""
    otlp = {"http": {"endpoint": between.http}}
    if protocol == "grpc":
        otlp = {"grpc": {"endpoint": between.grpc, "insecure": True}}  # type: ignore[dict-item]
    collector = between.collector
    with recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        dynamic["http"]["routers"]["all"]["observability"] = {"traceVerbosity": "detailed"}
        static = {
            "tracing": {"otlp": otlp, "serviceName": protocol, "capturedRequestHeaders": ["X-Case", "X-Odd"]},
            "metrics": {"otlp": {**otlp, "pushInterval": "100ms", "serviceName": protocol}},
            "accessLog": {"otlp": {**otlp, "serviceName": protocol}, "fields": {"headers": {"defaultMode": "keep"}}},
            "experimental": {"otlpLogs": True},
        }
        with edge(dynamic, {"web": {"address": "127.0.0.1:0"}}, static) as lb:
            assert " 200 " in lb.ask(REQUEST % protocol.encode())[0]

            def mine() -> list[Span]:
                return [span for span in collector.spans if span.resource["service.name"] == protocol]

            spans = eventually(lambda: len(found := mine()) == 4 and found, "the spans")
            request = next(span for span in spans if span.name == "GET")
            assert {span.name for span in spans} == {"GET", "Router", "Service", "ReverseProxy"}
            assert request.attributes["http.request.header.x-case"] == [protocol]
            assert request.attributes["http.request.header.x-odd"] == ["?"]
            assert request.attributes["http.response.status_code"] == 200
            assert {span.trace for span in spans} == {request.trace}
            eventually(lambda: "lbcore_service_requests_total" in collector.metrics, "metrics")
            eventually(
                lambda: [
                    record
                    for record, attributes in collector.records
                    if attributes.get("request_X-Case") == protocol and record.trace_id.hex() == request.trace
                ],
                "the record of the log",
            )
