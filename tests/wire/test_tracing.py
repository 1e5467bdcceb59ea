"""Traces: what a collector of OpenTelemetry gets of requests, and what servers learn."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from lbcore.observability.watch import propagators
from tests.support.certificates import Files, authority, signed
from tests.support.instance import eventually
from tests.support.otlp import Collector, Span, grpc_collector, http_collector
from tests.support.ports import free_port
from tests.support.recorder import config, recorders
from tests.support.wire import Edge, edge
from tests.wire.test_observability import metric

GET = b"GET /x HTTP/1.1\r\nHost: shop.test\r\n\r\n"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
W3C = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])")
SERVER, CLIENT, INTERNAL = 2, 3, 1


@contextmanager
def traced(
    collector: Collector, dynamic: dict[str, Any], static: dict[str, Any] | None = None, **tracing: Any
) -> Iterator[Edge]:
    settings = {"tracing": {"otlp": {"http": {"endpoint": collector.url}}, **tracing}, **(static or {})}
    points = {"web": {"address": "127.0.0.1:0", **settings.pop("web", {})}}
    with edge(dynamic, points, settings) as lb:
        yield lb


def one(spans: list[Span], name: str) -> Span:
    (found,) = [span for span in spans if span.name == name]
    return found


def with_headers(*lines: str, target: str = "/x") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: shop.test", *lines, "", ""]).encode()


def test_a_request_has_a_span_of_its_own_and_one_of_the_server() -> None:
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        more = {
            "capturedRequestHeaders": ["X-Id", "user-agent", "Absent"],
            "capturedResponseHeaders": ["x-from"],
            "safeQueryParams": ["safe"],
            "serviceName": "edge",
            "resourceAttributes": {"deployment.environment": "test"},
        }
        with traced(collector, dynamic, **more) as lb:
            lb.ask(with_headers("User-Agent: t/\xe9", "X-Id: 7", "x-id: 8", target="/x?b=1&safe=2&c&safe=3"))
            spans = collector.wait(2)
        request, asked = one(spans, "GET"), one(spans, "ReverseProxy")
        port = request.attributes["client.port"]
        assert request.attributes == {
            "entry_point": "web",
            "http.request.method": "GET",
            "network.protocol.version": "1.1",
            "http.request.body.size": 0,
            "url.path": "/x",
            "url.query": "b=REDACTED&safe=2&c=REDACTED&safe=3",
            "url.scheme": "http",
            "user_agent.original": "t/é",
            "server.address": "shop.test",
            "network.peer.address": "127.0.0.1",
            "client.address": "127.0.0.1",
            "client.port": port,
            "network.peer.port": port,
            "http.request.header.x-id": ["7", "8"],
            "http.response.status_code": 200,
            "http.response.header.x-from": ["a"],
        }
        assert asked.attributes == {
            "http.request.method": "GET",
            "network.protocol.version": "1.1",
            "url.full": f"{a.url}/x?b=REDACTED&safe=2&c=REDACTED&safe=3",
            "url.scheme": "http",
            "user_agent.original": "t/é",
            "network.peer.address": "127.0.0.1",
            "network.peer.port": a.port,
            "server.address": "127.0.0.1",
            "server.port": a.port,
            "http.request.header.x-id": ["7", "8"],
            "http.response.status_code": 200,
            "http.response.header.x-from": ["a"],
        }
        assert (request.kind, asked.kind) == (SERVER, CLIENT)
        assert (request.parent, asked.parent, asked.trace) == ("", request.id, request.trace)
        assert request.start <= asked.start <= asked.end <= request.end
        assert not request.error
        # The server is told the span that it belongs to.
        assert a.requests[0][1]["traceparent"] == f"00-{request.trace}-{asked.id}-01"
        resource = {"service.name": "edge", "deployment.environment": "test"}
        assert resource.items() <= request.resource.items()
        assert {"host.name", "process.pid", "service.version"} <= set(request.resource)
        assert collector.paths[0] == "/v1/traces"


def test_bytes_that_are_no_text_are_replaced() -> None:
    """Collectors refuse all of a message with a text that is not UTF-8."""
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with traced(collector, dynamic, capturedRequestHeaders=["X-Odd"]) as lb:
            lb.ask(b"GET /x HTTP/1.1\r\nHost: a\r\nUser-Agent: a\xffb\xe2\x82\xac\xed\xa0\x80\r\nX-Odd: \xc3\r\n\r\n")
            span = one(collector.wait(2), "GET")
        assert span.attributes["user_agent.original"] == "a?b€???"
        assert span.attributes["http.request.header.x-odd"] == ["?"]


def test_long_texts_are_cut() -> None:
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with traced(collector, dynamic, capturedRequestHeaders=["X-Long"]) as lb:
            lb.ask(
                with_headers(
                    f"X-Long: {'h' * 9000}", f"User-Agent: {'u' * 9000}", target="/" + "p" * 9000 + "?" + "&a" * 5000
                )
            )
            span = one(collector.wait(2), "GET")
        lengths = {key: len(value) for key, value in span.attributes.items() if isinstance(value, str)}
        assert {lengths[key] for key in ("user_agent.original", "url.path", "url.query")} == {4096}
        assert span.attributes["http.request.header.x-long"] == ["h" * 4096]


def test_a_trace_of_the_client_is_continued() -> None:
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with traced(collector, dynamic, sampleRate=0) as lb:
            lb.ask(with_headers(f"traceparent: 00-{TRACE}-{PARENT}-01", "tracestate: a=b", "baggage: c=d"))
            spans = collector.wait(2)
        request, asked = one(spans, "GET"), one(spans, "ReverseProxy")
        assert (request.trace, request.parent, asked.parent) == (TRACE, PARENT, request.id)
        assert request.state == asked.state == "a=b"
        headers = a.requests[0][1]
        assert headers["traceparent"] == f"00-{TRACE}-{asked.id}-01"
        assert (headers["tracestate"], headers["baggage"]) == ("a=b", "c=d")


@pytest.mark.parametrize(
    "header",
    [
        f"00-{TRACE}-{PARENT}-00",
        f"cc-{TRACE}-{PARENT}-00-what-comes-later",
    ],
)
def test_a_trace_that_the_client_does_not_sample_is_passed_on_alone(header: str) -> None:
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with traced(collector, dynamic) as lb:
            lb.ask(with_headers(f"traceparent: {header}"))
            lb.ask(GET)
            spans = collector.wait(2)
        found = W3C.fullmatch(a.requests[0][1]["traceparent"])
        assert found is not None
        assert (found[1], found[3]) == (TRACE, "00")
        assert found[2] != PARENT
        assert TRACE not in {span.trace for span in spans}


@pytest.mark.parametrize(
    "header",
    [
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
        "nonsense",
    ],
)
def test_a_header_that_is_none_begins_a_trace(header: str) -> None:
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with traced(collector, dynamic, sampleRate=0) as lb:
            lb.ask(with_headers(f"traceparent: {header}"))
        found = W3C.fullmatch(a.requests[0][1]["traceparent"])
        assert found is not None
        assert found[3] == "00"
        assert found[1] not in (TRACE, TRACE.upper())


def test_a_part_of_the_requests_is_sampled() -> None:
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with traced(collector, dynamic, sampleRate=0.5) as lb:
            client = lb.client()
            for _ in range(400):
                client.ask(GET)
            client.ask(with_headers(f"traceparent: 00-{TRACE}-{PARENT}-01"))
            collector.wait(2, server__address="shop.test")
            eventually(lambda: TRACE in {span.trace for span in collector.spans}, "the last request")
            sent = {W3C.fullmatch(headers["traceparent"]) for _, headers, _ in a.requests}
        sampled = {found[1] for found in sent if found and found[3] == "01"}
        assert {span.trace for span in collector.spans} == sampled
        assert 120 < len(sampled) < 280
        # By the lower half of the identifier, as samplers of OpenTelemetry by ratio decide.
        assert all(int(trace[16:], 16) >> 1 < 2**62 for trace in sampled - {TRACE})


def test_details_follow_the_way_of_the_request() -> None:
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}, "middlewares": ["late"]}})
        dynamic["http"]["middlewares"] = {
            "strip": {"stripPrefix": {"prefixes": ["/none"]}},
            "type": {"contentType": {}},
            "limit": {"rateLimit": {"average": 1000, "burst": 1000}},
            "late": {"headers": {"customRequestHeaders": {"X-A": "1"}}},
        }
        dynamic["http"]["routers"]["all"] |= {
            "middlewares": ["strip", "type", "limit"],
            "observability": {"traceVerbosity": "detailed"},
        }
        with traced(collector, dynamic) as lb:
            lb.ask(GET)
            spans = collector.wait(7)
        by_id = {span.id: span for span in spans}
        way = [one(spans, "ReverseProxy")]
        while way[-1].parent:
            way.append(by_id[way[-1].parent])
        assert [(span.name, span.kind) for span in reversed(way)] == [
            ("GET", SERVER), ("Router", INTERNAL), ("StripPrefix", INTERNAL), ("RateLimiter", INTERNAL),
            ("Headers", INTERNAL), ("Service", INTERNAL), ("ReverseProxy", CLIENT),
        ]  # fmt: skip
        assert one(spans, "Router").attributes == {
            "traefik.service.name": "all@file", "traefik.router.name": "all@file", "http.route": "PathPrefix(`/`)",
        }  # fmt: skip
        assert one(spans, "StripPrefix").attributes == {"traefik.middleware.name": "strip@file"}
        assert one(spans, "Service").attributes == {"traefik.service.name": "all@file"}
        starts = [span.start for span in reversed(way)]
        assert starts == sorted(starts)
        assert a.requests[0][1]["traceparent"].split("-")[2] == way[0].id


def test_a_middleware_that_refuses_is_an_error_of_its_span() -> None:
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        dynamic["http"]["middlewares"] = {"allow": {"ipAllowList": {"sourceRange": ["10.0.0.1/32"]}}}
        dynamic["http"]["routers"]["all"] |= {"middlewares": ["allow"]}
        web = {"observability": {"traceVerbosity": "detailed"}}
        with traced(collector, dynamic, {"web": web}) as lb:
            assert " 403 " in lb.ask(GET)[0]
            spans = collector.wait(3)
        assert {(span.name, span.error) for span in spans} == {
            ("GET", False),
            ("Router", False),
            ("IPAllowLister", True),
        }
        assert one(spans, "GET").attributes["http.response.status_code"] == 403


def test_routers_below_another_have_spans_of_their_own() -> None:
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        dynamic["http"]["middlewares"] = {
            "one": {"headers": {"customRequestHeaders": {"X-A": "1"}}},
            "two": {"addPrefix": {"prefix": "/y"}},
        }
        detailed = {"observability": {"traceVerbosity": "detailed"}}
        dynamic["http"]["routers"] = {
            "top": {"rule": "PathPrefix(`/`)", "middlewares": ["one"], **detailed},
            "below": {"rule": "Path(`/x`)", "service": "all", "middlewares": ["two"], "parentRefs": ["top"]},
        }
        with traced(collector, dynamic) as lb:
            lb.ask(GET)
            spans = collector.wait(7)
        names = [span.name for span in sorted(spans, key=lambda span: span.start)]
        assert names == ["GET", "Router", "Headers", "Router", "AddPrefix", "Service", "ReverseProxy"]
        routers = [span.attributes["traefik.router.name"] for span in spans if span.name == "Router"]
        assert sorted(routers) == ["below@file", "top@file"]


def test_who_is_not_traced(tmp_path: Path) -> None:
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        rule, service = "Path(`/x`)", "all"
        dynamic["http"]["routers"] = {
            "on": {"rule": rule, "service": service, "observability": {"tracing": True}},
            "off": {"rule": "Path(`/off`)", "service": service, "observability": {"tracing": False}},
            "usual": {"rule": "Path(`/usual`)", "service": service},
        }
        log = tmp_path / "access.log"
        static = {"web": {"observability": {"tracing": False}}, "ping": {"entryPoint": "web"},
                  "accessLog": {"filePath": str(log), "format": "json"}}  # fmt: skip
        with traced(collector, dynamic, static) as lb:
            for path in ("/off", "/usual", "/none", "/ping"):
                lb.ask(with_headers("traceparent: what the client says", target=path))
            lb.ask(GET)
            spans = collector.wait(2)
            lines = eventually(lambda: len(found := log.read_text().splitlines()) == 4 and found, "the log")
        assert {span.attributes.get("url.path", "/x") for span in collector.spans} == {"/x"}
        assert [headers.get("traceparent") for _, headers, _ in a.requests[:2]] == ["what the client says"] * 2
        entries = {entry["RequestPath"]: entry for entry in map(json.loads, lines)}
        assert "TraceId" not in entries["/usual"]
        request = one(spans, "GET")
        for names in (("TraceId", "SpanId"), ("trace_id", "span_id")):
            assert tuple(entries["/x"][name] for name in names) == (request.trace, request.id)


def test_what_lbcore_answers_itself() -> None:
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        dynamic["http"]["routers"]["all"]["rule"] = "Path(`/x`)"
        with traced(collector, dynamic, {"ping": {"entryPoint": "web"}}, addInternals=True) as lb:
            lb.ask(with_headers(target="/ping"))
            lb.ask(with_headers(target="/none"))
            lb.ask(b"FETCH /y HTTP/1.1\r\nHost: a\r\n\r\n")
            eventually(lambda: len(collector.spans) == 3, "three spans")
        found = {span.attributes["url.path"]: span for span in collector.spans}
        statuses = {path: span.attributes["http.response.status_code"] for path, span in found.items()}
        assert statuses == {"/ping": 200, "/none": 404, "/y": 404}
        assert (found["/y"].name, found["/y"].attributes["http.request.method"]) == ("FETCH", "FETCH")


def test_each_attempt_has_a_span() -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with http_collector() as collector, recorders("a", "b") as (a, b):
        a.answer = lambda *_: (503, b"")
        services = {"all": {"loadBalancer": {"servers": [{"url": dead}, {"url": a.url}, {"url": b.url}]}}}
        dynamic = config(services)
        dynamic["http"]["middlewares"] = {"again": {"retry": {"attempts": 4, "status": ["503"]}}}
        dynamic["http"]["routers"]["all"]["middlewares"] = ["again"]
        with traced(collector, dynamic) as lb:
            assert " 200 " in lb.ask(GET)[0]
            spans = sorted(collector.wait(4), key=lambda span: span.start)
        request, *asked = spans
        told = [headers["traceparent"].split("-")[2] for _, headers, _ in (*a.requests, *b.requests)]
        assert {span.attributes["http.response.status_code"]: span.error for span in asked} == {
            502: True,
            503: True,
            200: False,
        }
        assert {span.parent for span in asked} == {request.id}
        assert [span.attributes.get("http.request.resend_count") for span in asked] == [None, 1, 2]
        assert sorted(told) == sorted(span.id for span in asked if span.attributes["url.full"] != f"{dead}/x")


def test_a_server_that_fails_is_an_error_of_both_spans() -> None:
    with http_collector() as collector:
        dynamic = config({}, all=f"http://127.0.0.1:{free_port()}")
        with traced(collector, dynamic) as lb:
            assert " 502 " in lb.ask(GET)[0]
            spans = collector.wait(2)
        assert {(span.name, span.error, span.attributes["http.response.status_code"]) for span in spans} == {
            ("GET", True, 502), ("ReverseProxy", True, 502),
        }  # fmt: skip


def test_a_trusted_proxy_in_front_names_the_client() -> None:
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with traced(collector, dynamic, {"web": {"forwardedHeaders": {"insecure": True}}}) as lb:
            lb.ask(with_headers("X-Forwarded-For: 10.1.2.3 , 10.0.0.1", "X-Forwarded-Proto: https"))
            span = one(collector.wait(2), "GET")
        assert span.attributes["client.address"] == "10.1.2.3"
        assert span.attributes["network.peer.address"] == "127.0.0.1"
        assert span.attributes["url.scheme"] == "https"


B3_PARENT = {"b3": f"{TRACE}-{PARENT}-1"}
MULTI_PARENT = {"x-b3-traceid": TRACE, "x-b3-spanid": PARENT, "x-b3-sampled": "1"}
XRAY_PARENT = {"x-amzn-trace-id": f"Root=1-{TRACE[:8]}-{TRACE[8:]};Parent={PARENT};Sampled=1"}
OT_PARENT = {"ot-tracer-traceid": TRACE, "ot-tracer-spanid": PARENT, "ot-tracer-sampled": "1", "ot-baggage-a": "b"}
JAEGER_PARENT = {"uber-trace-id": f"{TRACE}:{PARENT}:0:1"}


@pytest.mark.parametrize(
    ("names", "sent", "told"),
    [
        ("b3", B3_PARENT, {"b3": "{trace}-{span}-1"}),
        ("b3", MULTI_PARENT, {"b3": "{trace}-{span}-1", "x-b3-spanid": PARENT}),
        ("b3multi", MULTI_PARENT, {"x-b3-traceid": "{trace}", "x-b3-spanid": "{span}", "x-b3-sampled": "1"}),
        ("b3multi", B3_PARENT, {"x-b3-traceid": "{trace}", "x-b3-spanid": "{span}", "b3": f"{TRACE}-{PARENT}-1"}),
        ("jaeger", JAEGER_PARENT, {"uber-trace-id": "{trace}:{span}:0:1"}),
        ("xray", XRAY_PARENT, {"x-amzn-trace-id": f"Root=1-{TRACE[:8]}-{TRACE[8:]};Parent={{span}};Sampled=1"}),
        ("ottrace", OT_PARENT, {"ot-tracer-traceid": TRACE[16:], "ot-tracer-spanid": "{span}", "ot-baggage-a": "b"}),
        (
            "tracecontext,b3,jaeger,baggage",
            JAEGER_PARENT,
            {"traceparent": "00-{trace}-{span}-01", "b3": "{trace}-{span}-1", "uber-trace-id": "{trace}:{span}:0:1"},
        ),
    ],
)
def test_propagators(monkeypatch: pytest.MonkeyPatch, names: str, sent: dict[str, str], told: dict[str, str]) -> None:
    monkeypatch.setenv("OTEL_PROPAGATORS", names)
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with traced(collector, dynamic, sampleRate=0) as lb:
            lb.ask(with_headers(*(f"{key}: {value}" for key, value in sent.items())))
            spans = collector.wait(2)
        request, asked = one(spans, "GET"), one(spans, "ReverseProxy")
        assert (request.trace, request.parent) == (TRACE, PARENT)
        headers = a.requests[0][1]
        expected = {key: text.format(trace=TRACE, span=asked.id) for key, text in told.items()}
        assert {key: headers.get(key) for key in told} == expected
        assert ("traceparent" in headers) == ("tracecontext" in names)


@pytest.mark.parametrize(
    ("names", "lines", "is_one"),
    [
        ("jaeger", [f"uber-trace-id: {TRACE[:16]}:{PARENT[4:]}:0:3"], True),
        ("jaeger", [f"uber-trace-id: {TRACE}:{PARENT}:0:2"], False),
        ("jaeger", [f"uber-trace-id: {TRACE}:{PARENT}:1"], False),
        ("jaeger", ["uber-trace-id: :::"], False),
        ("b3", [f"b3: {TRACE[:16]}-{PARENT}-d"], True),
        ("b3", [f"b3: {TRACE}-{PARENT}"], False),
        ("b3", ["b3: 0"], False),
        ("b3multi", [f"X-B3-TraceId: {TRACE}", f"X-B3-SpanId: {PARENT}", "X-B3-Flags: 1"], True),
        ("b3multi", [f"X-B3-TraceId: {TRACE}", f"X-B3-SpanId: {PARENT}x", "X-B3-Sampled: 1"], False),
    ],
)
def test_headers_of_propagators(monkeypatch: pytest.MonkeyPatch, names: str, lines: list[str], is_one: bool) -> None:
    """Sampled, or not understood or not sampled, in which case nothing is exported."""
    monkeypatch.setenv("OTEL_PROPAGATORS", names)
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with traced(collector, dynamic, sampleRate=0) as lb:
            lb.ask(with_headers(*lines))
        assert len(collector.spans) == (2 if is_one else 0)  # the end of the proxy has waited for the collector


@pytest.mark.parametrize("names", ["none,unheard", "b3, none"])
def test_no_propagator_passes_nothing_on(monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    monkeypatch.setenv("OTEL_PROPAGATORS", names)
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with traced(collector, dynamic) as lb:
            lb.ask(with_headers(f"traceparent: 00-{TRACE}-{PARENT}-00"))
        assert len(collector.spans) == 2
        assert a.requests[0][1]["traceparent"] == f"00-{TRACE}-{PARENT}-00"


@pytest.mark.parametrize(("names", "trace"), [("b3,tracecontext", TRACE), ("tracecontext,b3", TRACE[::-1])])
def test_the_last_propagator_that_finds_a_trace_counts(monkeypatch: pytest.MonkeyPatch, names: str, trace: str) -> None:
    monkeypatch.setenv("OTEL_PROPAGATORS", names)
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with traced(collector, dynamic) as lb:
            lb.ask(with_headers(f"traceparent: 00-{TRACE}-{PARENT}-01", f"b3: {TRACE[::-1]}-{PARENT}-1"))
            assert {span.trace for span in collector.wait(2)} == {trace}


def test_propagators_that_are_not_known_are_those_of_w3c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PROPAGATORS", "unheard")
    assert propagators() == ["tracecontext", "baggage"]
    monkeypatch.setenv("OTEL_PROPAGATORS", "unheard, xray")
    assert propagators() == ["xray"]


def test_spans_wait_for_a_collector_that_is_away_and_are_counted_if_refused() -> None:
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        dynamic["http"]["routers"]["all"]["entryPoints"] = ["web"]
        static = {"metrics": {"prometheus": {}}}
        collector.status = 503
        with traced(collector, dynamic, static) as lb:
            lb.ask(GET)
            eventually(lambda: collector.paths, "an attempt")
            assert collector.spans == []
            collector.status = 200
            collector.wait(2)
            assert eventually(lambda: metric(lb, "lbcore_spans_exported_total"), "it is counted") == 2
            assert metric(lb, "lbcore_spans_lost_total") == 0
            collector.status = 400
            lb.ask(GET)
            assert eventually(lambda: metric(lb, "lbcore_spans_lost_total"), "it is counted") == 2
            collector.status = 200
            lb.ask(GET)
            collector.wait(4)
        assert len(collector.spans) == 4


def test_over_grpc() -> None:
    with grpc_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        otlp = {"grpc": {"endpoint": collector.address, "insecure": True, "headers": {"X-Key": "k"}}}
        with traced(collector, dynamic, otlp=otlp) as lb:
            lb.ask(GET)
            assert {span.name for span in collector.wait(2)} == {"GET", "ReverseProxy"}
        assert collector.headers[0]["x-key"] == "k"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Files, Files, Files]:
    folder = tmp_path_factory.mktemp("certificates")
    by = authority(folder, "authority")
    usage = ("extendedKeyUsage=serverAuth,clientAuth",)
    return (
        by,
        signed(folder, by, "server", "DNS:localhost", extensions=usage),
        signed(folder, by, "client", extensions=usage),
    )


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_over_tls_with_a_certificate_of_its_own(files: tuple[Files, Files, Files], protocol: str) -> None:
    import ssl

    by, server, client = files
    tls = {"ca": str(by.certificate), "cert": client.certificate.read_text(), "key": str(client.key)}
    if protocol == "http":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(by.certificate))
        context.load_cert_chain(server.certificate, server.key)
        context.verify_mode = ssl.CERT_REQUIRED
        opened = http_collector(context)
    else:
        pair = (server.key.read_bytes(), server.certificate.read_bytes())
        opened = grpc_collector(grpc.ssl_server_credentials([pair], by.certificate.read_bytes(), True))
    with opened as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        settings = {
            "endpoint": collector.url or collector.address,
            "headers": {"Authorization": "Bearer t"},
            "tls": tls,
        }
        with traced(collector, dynamic, otlp={protocol: settings}) as lb:
            lb.ask(GET)
            collector.wait(2)
        assert collector.headers[0]["authorization"] == "Bearer t"


@pytest.mark.parametrize(
    ("otlp", "reason"),
    [
        ({"http": {"endpoint": "localhost:4318"}}, "invalid collector endpoint 'localhost:4318'"),
        ({"grpc": {"endpoint": "http://a"}}, "invalid collector endpoint 'http://a'"),
    ],
)
def test_endpoints_that_are_none(otlp: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason), edge({"http": {}}, None, {"tracing": {"otlp": otlp}}):
        pass


def asking(url: str, **settings: Any) -> dict[str, Any]:
    return {"guard": {"forwardAuth": {"address": url, **settings}}}


@pytest.mark.parametrize("detailed", [False, True])
def test_the_question_of_forward_auth_has_a_span(detailed: bool) -> None:
    with http_collector() as collector, recorders("a", "auth") as (a, auth):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        dynamic["http"]["middlewares"] = asking(f"{auth.url}/check?k=v", authRequestHeaders=["X-Id"])
        dynamic["http"]["routers"]["all"]["middlewares"] = ["guard"]
        if detailed:
            dynamic["http"]["routers"]["all"]["observability"] = {"traceVerbosity": "detailed"}
        more = {"capturedRequestHeaders": ["X-Id"], "capturedResponseHeaders": ["X-From"]}
        with traced(collector, dynamic, **more) as lb:
            assert " 200 " in lb.ask(with_headers("X-Id: 7"))[0]
            spans = collector.wait(6 if detailed else 3)
        span, asked = one(spans, "AuthRequest"), one(spans, "ReverseProxy")
        assert span.kind == CLIENT
        assert span.parent == one(spans, "ForwardAuth" if detailed else "GET").id
        assert span.attributes == {
            "http.request.method": "GET",
            "network.protocol.version": "1.1",
            "url.full": f"{auth.url}/check?k=REDACTED",
            "url.scheme": "http",
            "user_agent.original": "",
            "network.peer.address": "127.0.0.1",
            "network.peer.port": auth.port,
            "server.address": "127.0.0.1",
            "server.port": auth.port,
            "http.request.header.x-id": ["7"],
            "http.response.status_code": 200,
            "http.response.header.x-from": ["auth"],
        }
        assert not span.error
        assert one(spans, "GET").start <= span.start <= span.end <= asked.start
        assert auth.requests[0][1]["traceparent"] == f"00-{span.trace}-{span.id}-01"
        assert a.requests[0][1]["traceparent"] == f"00-{span.trace}-{asked.id}-01"


def test_a_question_that_is_refused_or_has_no_answer() -> None:
    dead = f"http://127.0.0.1:{free_port()}/"
    with http_collector() as collector, recorders("a", "auth") as (a, auth):
        auth.answer = lambda *_: (401, b"")
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        dynamic["http"]["middlewares"] = {**asking(auth.url), "dead": {"forwardAuth": {"address": dead}}}
        for name, guard in (("all", "guard"), ("dead", "dead")):
            dynamic["http"]["routers"][name] = {"rule": f"Path(`/{name}`)", "service": "all", "middlewares": [guard]}
        with traced(collector, dynamic) as lb:
            assert " 401 " in lb.ask(with_headers(target="/all"))[0]
            assert " 500 " in lb.ask(with_headers(target="/dead"))[0]
            refused = collector.wait(2, url__path="/all")
            failed = collector.wait(2, url__path="/dead")
        assert (one(refused, "AuthRequest").error, one(refused, "GET").error) == (True, False)
        assert one(refused, "AuthRequest").attributes["http.response.status_code"] == 401
        assert "http.response.status_code" not in one(failed, "AuthRequest").attributes


def test_a_question_of_a_request_that_is_not_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PROPAGATORS", "tracecontext,b3")
    with http_collector() as collector, recorders("a", "auth") as (a, auth):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        dynamic["http"]["middlewares"] = asking(auth.url, authRequestHeaders=["X-Id"])
        dynamic["http"]["routers"]["all"]["middlewares"] = ["guard"]
        with traced(collector, dynamic, sampleRate=0) as lb:
            assert " 200 " in lb.ask(with_headers(f"traceparent: 00-{TRACE}-{PARENT}-00"))[0]
        told, passed = auth.requests[0][1], a.requests[0][1]
        found = W3C.fullmatch(told["traceparent"])
        assert found is not None
        assert (found[1], found[3]) == (TRACE, "00")
        assert told["b3"] == f"{TRACE}-{found[2]}-0"
        assert found[2] not in (PARENT, passed["traceparent"].split("-")[2])
        assert collector.spans == []


def test_of_two_headers_one_counts() -> None:
    other = TRACE[::-1]
    with http_collector() as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with traced(collector, dynamic, sampleRate=0) as lb:
            lb.ask(with_headers(f"traceparent: 00-{TRACE}-{PARENT}-00", f"traceparent: 00-{other}-{PARENT}-01"))
        assert collector.spans == []
        assert a.requests[0][1]["traceparent"].startswith(f"00-{TRACE}-")


@pytest.mark.parametrize("name", ["DNS:elsewhere.test", "DNS:*.elsewhere.test", "IP:10.9.8.7", ""])
def test_over_grpc_whatever_the_certificate(tmp_path: Path, name: str) -> None:
    by = authority(tmp_path, "authority")
    server = signed(tmp_path, by, "server", *filter(None, [name]), extensions=("extendedKeyUsage=serverAuth",))
    credentials = grpc.ssl_server_credentials([(server.key.read_bytes(), server.certificate.read_bytes())])
    with grpc_collector(credentials) as collector, recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        grpc_settings = {"endpoint": collector.address, "tls": {"insecureSkipVerify": True}}
        with traced(collector, dynamic, otlp={"grpc": grpc_settings}) as lb:
            lb.ask(GET)
            assert {span.name for span in collector.wait(2)} == {"GET", "ReverseProxy"}
