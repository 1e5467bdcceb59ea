"""A collector of OpenTelemetry for tests, built on its own package of messages: over HTTP and over gRPC."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from tests.support.instance import eventually

MESSAGES: dict[str, tuple[Any, Any]] = {
    "traces": (ExportTraceServiceRequest, ExportTraceServiceResponse),
    "metrics": (ExportMetricsServiceRequest, ExportMetricsServiceResponse),
    "logs": (ExportLogsServiceRequest, ExportLogsServiceResponse),
}
SERVICES = {"trace": "traces", "metrics": "metrics", "logs": "logs"}


def value_of(value: AnyValue) -> Any:
    """A value as Python has it."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return attributes_of(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def attributes_of(pairs: Any) -> dict[str, Any]:
    """Attributes by key. Each key must be there once."""
    found: dict[str, Any] = {}
    pair: KeyValue
    for pair in pairs:
        assert pair.key not in found, f"{pair.key} is there twice"
        found[pair.key] = value_of(pair.value)
    return found


@dataclass(frozen=True)
class Span:
    """A span as it has come. Identifiers are in hexadecimal; `error`: its status says so."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    start: int
    end: int
    attributes: dict[str, Any]
    resource: dict[str, Any]
    error: bool
    state: str


class Collector:
    """What has come so far, as messages. `status`: with which it answers over HTTP."""

    def __init__(self) -> None:
        self.requests: dict[str, list[Any]] = {name: [] for name in MESSAGES}
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.status = 200
        self.url = self.address = ""

    def take(self, signal: str, data: bytes) -> None:
        request = MESSAGES[signal][0]()
        request.ParseFromString(data)
        self.requests[signal].append(request)

    @property
    def spans(self) -> list[Span]:
        found = []
        for request in list(self.requests["traces"]):
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        found.append(
                            Span(
                                span.name, span.kind, span.trace_id.hex(), span.span_id.hex(),
                                span.parent_span_id.hex(), span.start_time_unix_nano, span.end_time_unix_nano,
                                attributes_of(span.attributes), attributes_of(resource.resource.attributes),
                                span.status.code == 2, span.trace_state,
                            )
                        )  # fmt: skip
        return found

    def wait(self, count: int, **attributes: Any) -> list[Span]:
        """The spans of traces of which one has these attributes (dots as `__`), as soon as there are that many."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}

        def found() -> list[Span]:
            spans = self.spans
            traces = {each.trace for each in spans if wanted.items() <= each.attributes.items()}
            mine = [each for each in spans if each.trace in traces]
            return mine if len(mine) >= count else []

        return eventually(found, f"{count} spans with {wanted}")

    @property
    def metrics(self) -> dict[str, list[tuple[dict[str, Any], Any]]]:
        """The points of the last request by name: attributes, and the point."""
        found: dict[str, list[tuple[dict[str, Any], Any]]] = {}
        for request in self.requests["metrics"][-1:]:
            for resource in request.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        points = getattr(metric, metric.WhichOneof("data")).data_points
                        found[metric.name] = [(attributes_of(point.attributes), point) for point in points]
        return found

    @property
    def records(self) -> list[tuple[Any, dict[str, Any]]]:
        """The records of logs, with their attributes."""
        return [
            (record, attributes_of(record.attributes))
            for request in list(self.requests["logs"])
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]


@contextlib.contextmanager
def http_collector(context: Any = None) -> Iterator[Collector]:
    """A collector over HTTP while the block lasts. `context`: of TLS."""
    collector = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            data = self.body()
            collector.headers.append({key.lower(): value for key, value in self.headers.items()})
            collector.paths.append(self.path)
            status = collector.status
            answer = b""
            if status == 200:
                signal = self.path.rsplit("/", 1)[-1]
                collector.take(signal, gzip.decompress(data) if "Content-Encoding" in self.headers else data)
                answer = MESSAGES[signal][1]().SerializeToString()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def body(self) -> bytes:
            if "Content-Length" in self.headers:
                return self.rfile.read(int(self.headers["Content-Length"]))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    collector.url = f"http{'s' if context is not None else ''}://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def grpc_collector(credentials: Any = None) -> Iterator[Collector]:
    """A collector over gRPC while the block lasts."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    for name, signal in SERVICES.items():

        def export(request: bytes, context: Any, signal: str = signal) -> bytes:
            collector.headers.append({key: str(value) for key, value in context.invocation_metadata()})
            collector.take(signal, request)
            answer: bytes = MESSAGES[signal][1]().SerializeToString()
            return answer

        service = f"opentelemetry.proto.collector.{name}.v1.{name.title()}Service"
        handler = grpc.method_handlers_generic_handler(service, {"Export": grpc.unary_unary_rpc_method_handler(export)})
        server.add_generic_rpc_handlers((handler,))
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    collector.address = f"localhost:{port}" if credentials is not None else f"127.0.0.1:{port}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(0.1).wait()
