"""What real Traefik and lbcore make of headers of requests: labels of metrics, and the traces that they name."""

from __future__ import annotations

import contextlib
import re
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.instance import eventually
from tests.support.otlp import http_collector
from tests.support.ports import free_ports
from tests.support.recorder import Recorder, recorders
from tests.support.traefik import NAMES, start
from tests.support.wire import Peer

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OTHER = "4bf92f3577b34da6a3ce929d0e0e4736"
LABELS = {"agent": "User-Agent", "tenant": "X-Tenant", "host": "Host", "outer": "x-forwarded-host", "set": "X-Set"}
LABELS |= {"forwarded-proto": "X-Forwarded-Proto", "via": "X-Forwarded-For", "client": "X-Real-Ip"}
SHOWN = {name.replace("-", "_") for name in LABELS}
PROPAGATORS = "jaeger,tracecontext,b3multi,xray,ottrace"


@dataclass
class Pair:
    ports: dict[str, int]
    metrics: dict[str, int]
    app: Recorder


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("observed")
    with contextlib.ExitStack() as stack:
        (app,) = stack.enter_context(recorders("app"))
        collector = stack.enter_context(http_collector())
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("OTEL_PROPAGATORS", PROPAGATORS)
        every = {"service": "app", "entryPoints": ["web"]}
        dynamic = {
            "http": {
                "routers": {
                    "all": {"rule": "PathPrefix(`/`)", **every},
                    "set": {"rule": "PathPrefix(`/set`)", "middlewares": ["set"], **every},
                },
                "middlewares": {"set": {"headers": {"customRequestHeaders": {"X-Set": "1", "X-Tenant": ""}}}},
                "services": {"app": {"loadBalancer": {"servers": [{"url": app.url}]}}},
            }
        }
        (folder / "dynamic.yml").write_text(yaml.safe_dump(dynamic))
        ports, metrics = (dict(zip(NAMES, free_ports(2), strict=True)) for _ in range(2))
        for name in NAMES:
            static = {
                "entryPoints": {
                    "web": {"address": f"127.0.0.1:{ports[name]}"},
                    "traefik": {"address": f"127.0.0.1:{metrics[name]}"},
                },
                "providers": {"file": {"filename": str(folder / "dynamic.yml"), "watch": False}},
                "metrics": {"prometheus": {"headerLabels": LABELS, "addRoutersLabels": True}},
                "tracing": {"otlp": {"http": {"endpoint": f"{collector.url}/v1/traces"}}},
            }
            process = start(name, folder, static)
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
        for port in ports.values():
            eventually(lambda port=port: is_ready(port), "it routes", 60)  # type: ignore[misc]
        yield Pair(ports, metrics, app)


def is_ready(port: int) -> bool:
    try:
        return " 200 " in ask(port, "/ready")
    except OSError:
        return False


def ask(port: int, target: str, *headers: bytes) -> str:
    """The first line of the answer; empty if there is none."""
    peer = Peer(socket.create_connection(("127.0.0.1", port), timeout=30))
    with contextlib.closing(peer.sock), contextlib.suppress(EOFError, ConnectionError):
        peer.send(b"\r\n".join([f"GET {target} HTTP/1.1".encode(), b"Host: a.test", *headers, b"", b""]))
        return peer.message()[0]
    return ""


def counted(port: int, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """The values of a metric by the labels of headers, of requests that were answered with 200."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [s for family in families for s in family.samples if s.name.partition("_")[2] == name]
    samples = [s for s in samples if s.labels["code"] == "200" and s.labels.get("entrypoint", "web") == "web"]
    return {tuple(sorted((k, v) for k, v in s.labels.items() if k in SHOWN)): s.value for s in samples}


REQUESTS: list[tuple[str, list[bytes]]] = [
    ("/a", []),
    ("/a", [b"User-Agent: curl", b"X-Tenant: one", b"X-Tenant: two"]),
    ("/a", [b'User-Agent: a"b\\c\td', b"X-Forwarded-Host: evil", b"X-Forwarded-For: 1.2.3.4", b"X-Real-Ip: 1.2.3.4"]),
    ("/set", [b"X-Tenant: gone", b"User-Agent: s"]),
    ("/a", ["User-Agent: é".encode(), b"x-tenant: lower"]),
    ("/a", [b"X-Tenant:"]),
]


def test_labels_have_the_values_of_headers(pair: Pair) -> None:
    """Those of `requests_total`, as middlewares have left them."""
    for target, headers in REQUESTS:
        for name in NAMES:
            assert " 200 " in ask(pair.ports[name], target, *headers)
    for kind in ("entrypoint", "router", "service"):
        metric = f"{kind}_requests_total"
        wanted = counted(pair.metrics["traefik"], metric)
        # Requests until each was ready have no headers either.
        plain = next(labels for labels in wanted if ("agent", "") in labels and ("tenant", "") in labels)
        assert len(wanted) == 5 and {tuple(sorted(SHOWN))} == {tuple(key for key, _ in labels) for labels in wanted}
        found = eventually(
            lambda metric=metric: len(values := counted(pair.metrics["lbcore"], metric)) == 5 and values,  # type: ignore[misc]
            "all are counted",
        )
        wanted.pop(plain), found.pop(plain)
        assert found == wanted
    for name in ("entrypoint_requests_bytes_total", "service_responses_bytes_total"):
        assert counted(pair.metrics["lbcore"], name).keys() == counted(pair.metrics["traefik"], name).keys() == {()}


def told(pair: Pair, name: str, *headers: bytes) -> dict[str, str]:
    """What the server is told: headers by which traces go on, with the span's own identifier as `SPAN`."""
    before = len(pair.app.requests)
    assert " 200 " in ask(pair.ports[name], "/trace", *headers)
    sent = pair.app.requests[before][1]
    found = {key: value for key, value in sent.items() if re.match("traceparent|uber|b3|x-b3|x-amzn-trace|ot-", key)}
    return {key: value.replace(found["x-b3-spanid"], "SPAN") for key, value in found.items()}


XRAY = f"{TRACE[:8]}-{TRACE[8:]}"
PARENTS: dict[str, list[str]] = {
    "jaeger": [f"uber-trace-id: {TRACE}:{PARENT}:0:1"],
    "not sampled": [f"traceparent: 00-{TRACE}-{PARENT}-00"],
    "the last one counts": [
        f"traceparent: 00-{OTHER}-{PARENT}-00",
        f"uber-trace-id: {OTHER}:{PARENT}:0:1",
        f"b3: {TRACE}-{PARENT}-1",
    ],
    "what is wrong does not": [f"traceparent: 00-{TRACE}-{PARENT}-00", f"b3: {OTHER}-x-1"],
    "b3 in its other form": [f"X-B3-TraceId: {TRACE}", f"X-B3-SpanId: {PARENT}", "X-B3-Sampled: 1", "b3: wrong"],
    "xray": [f"X-Amzn-Trace-Id: Root=1-{XRAY};Parent={PARENT};Sampled=1"],
    "xray in another order": [f"X-Amzn-Trace-Id: Self=1;Sampled=0;Parent={PARENT};Root=1-{XRAY};"],
    "xray with a space at its end": [f"X-Amzn-Trace-Id: Root=1-{XRAY};Parent={PARENT}; Sampled=1"],
    "ottrace": [f"ot-tracer-traceid: {TRACE[16:]}", f"ot-tracer-spanid: {PARENT}", "ot-tracer-sampled: TRUE"],
    "ottrace of 32 digits": [f"ot-tracer-traceid: {TRACE}", f"ot-tracer-spanid: {PARENT}", "ot-baggage-a: b"],
}


@pytest.mark.parametrize("case", PARENTS)
def test_the_trace_of_a_client_goes_on(pair: Pair, case: str) -> None:
    both = {name: told(pair, name, *(line.encode() for line in PARENTS[case])) for name in NAMES}
    assert both["lbcore"] == both["traefik"]
    assert TRACE[16:] in both["lbcore"]["traceparent"]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [f"X-Amzn-Trace-Id: Root=1-{XRAY}; Parent={PARENT};Sampled=1"],
        [f"X-Amzn-Trace-Id: Root=1-{XRAY};Parent={PARENT};Sampled"],
        [f"X-Amzn-Trace-Id: Root=2-{XRAY};Parent={PARENT}"],
        [f"X-Amzn-Trace-Id: Root=1-{XRAY.upper()};Parent={PARENT}"],
        [f"X-Amzn-Trace-Id: Root=1-{XRAY};Parent={PARENT[1:]}"],
        ["X-Amzn-Trace-Id: Root=1-00000000-000000000000000000000000;Parent=0000000000000001"],
        [f"ot-tracer-traceid: {TRACE}", f"ot-tracer-spanid: {PARENT}", "ot-tracer-sampled: maybe"],
        [f"ot-tracer-traceid: {TRACE[1:]}", f"ot-tracer-spanid: {PARENT}"],
        [f"ot-tracer-traceid: {TRACE}"],
    ],
)
def test_what_names_no_trace_begins_one(pair: Pair, lines: list[str]) -> None:
    for name in NAMES:
        found = told(pair, name, *(line.encode() for line in lines))
        trace = found["traceparent"].split("-")[1]
        assert TRACE not in found["traceparent"] and "0000000000000001" not in found["traceparent"]
        assert found == {
            "traceparent": f"00-{trace}-SPAN-01",
            "uber-trace-id": f"{trace}:SPAN:0:1",
            "x-b3-traceid": trace, "x-b3-spanid": "SPAN", "x-b3-sampled": "1",
            "x-amzn-trace-id": f"Root=1-{trace[:8]}-{trace[8:]};Parent=SPAN;Sampled=1",
            "ot-tracer-traceid": trace[16:], "ot-tracer-spanid": "SPAN", "ot-tracer-sampled": "true",
        }  # fmt: skip
