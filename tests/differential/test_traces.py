"""Spans of real Traefik and of lbcore for the same requests: names, kinds, parents, attributes, errors."""

from __future__ import annotations

import contextlib
import difflib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.support.instance import eventually
from tests.support.otlp import Collector, Span, http_collector
from tests.support.ports import free_port, free_ports
from tests.support.recorder import Recorder, recorders
from tests.support.traefik import NAMES, start
from tests.support.wire import Peer

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
MARK = "x-case"  # a captured header, by which the spans of a request are found
KINDS = {1: "internal", 2: "server", 3: "client"}


def dynamic(app: str, auth: str, refused: str) -> dict[str, Any]:
    middlewares: dict[str, Any] = {
        "strip": {"stripPrefix": {"prefixes": ["/detailed"]}},
        "add": {"addPrefix": {"prefix": "/more"}},
        "type": {"contentType": {}},
        "head": {"headers": {"customRequestHeaders": {"X-A": "1", "User-Agent": "another"}}},
        "limit": {"rateLimit": {"average": 1000, "burst": 1000}},
        "flight": {"inFlightReq": {"amount": 1000}},
        "shrink": {"compress": {}},
        "buffer": {"buffering": {"memRequestBodyBytes": 100000}},
        "breaker": {"circuitBreaker": {"expression": "ResponseCodeRatio(500, 600, 0, 600) > 0.9"}},
        "again": {"retry": {"attempts": 2, "initialInterval": "1ms"}},
        "nobody": {"ipAllowList": {"sourceRange": ["10.0.0.1/32"]}},
        "elsewhere": {"redirectRegex": {"regex": ".*", "replacement": "http://b.test/"}},
        "ask": {"forwardAuth": {"address": f"{auth}/check?safe=1&token=x", "authRequestHeaders": ["X-Case"]}},
        "asknobody": {"forwardAuth": {"address": f"{refused}/check"}},
        "basic": {"basicAuth": {"users": ["a:$apr1$d9hr9HBB$4HxwgUir3HP4EsggP/QNo0"]}},
        "both": {"chain": {"middlewares": ["head", "limit"]}},
        "rewrite": {"replacePath": {"path": "/fixed"}},
        "page": {"errors": {"status": ["500-599"], "service": "app", "query": "/page"}},
    }
    routers: dict[str, Any] = {
        "plain": [],
        "detailed": ["strip", "type", "add", "both", "flight"],
        "bodies": ["shrink", "buffer", "breaker"],
        "nobody": ["head", "nobody"],
        "elsewhere": ["elsewhere"],
        "basic": ["basic"],
        "ask": ["ask"],
        "asknobody": ["asknobody"],
        "minimalask": ["ask"],
        "rewrite": ["rewrite"],
        "page": ["page"],
        "dead": ["again"],
        "empty": [],
        "weighted": [],
    }
    services = {"dead": "dead", "empty": "empty", "weighted": "weighted", "page": "failing"}
    found: dict[str, Any] = {}
    for name, names in routers.items():
        found[name] = {"rule": f"PathPrefix(`/{name}`)", "service": services.get(name, "app"), "middlewares": names}
        if name not in ("plain", "minimalask"):
            found[name]["observability"] = {"traceVerbosity": "detailed"}
    found["quiet"] = {"rule": "PathPrefix(`/quiet`)", "service": "app", "observability": {"tracing": False}}
    return {
        "http": {
            "routers": found,
            "middlewares": middlewares,
            "services": {
                "app": {"loadBalancer": {"servers": [{"url": app}]}},
                "failing": {"loadBalancer": {"servers": [{"url": app}]}},
                "dead": {"loadBalancer": {"servers": [{"url": refused}]}},
                "empty": {"loadBalancer": {"servers": []}},
                "weighted": {"weighted": {"services": [{"name": "app", "weight": 1}]}},
            },
        }
    }


@dataclass
class Pair:
    ports: dict[str, int]
    collectors: dict[str, Collector]
    app: Recorder


def answer(first: str, headers: Any, body: bytes) -> tuple[int, bytes]:
    return (503 if "/page/" in first or "status=503" in first else 404 if "absent" in first else 200), b"text"


def check(first: str, headers: Any, body: bytes) -> tuple[int, bytes]:
    return (401 if "refuse" in headers.get(MARK, "") else 200), b"checked"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("traces")
    with contextlib.ExitStack() as stack:
        app, auth = stack.enter_context(recorders("app", "auth"))
        app.answer, auth.answer = answer, check
        settings = dynamic(app.url, auth.url, f"http://127.0.0.1:{free_port()}")
        (folder / "dynamic.yml").write_text(yaml.safe_dump(settings))
        collectors = {name: stack.enter_context(http_collector()) for name in NAMES}
        ports = dict(zip(NAMES, free_ports(2), strict=True))
        stack.enter_context(environment(OTEL_BSP_SCHEDULE_DELAY="50"))
        for name in NAMES:
            static = {
                "entryPoints": {"web": {"address": f"127.0.0.1:{ports[name]}"}},
                "providers": {"file": {"filename": str(folder / "dynamic.yml"), "watch": False}},
                "tracing": {
                    "otlp": {"http": {"endpoint": f"{collectors[name].url}/v1/traces"}},
                    "capturedRequestHeaders": ["X-Case", "Absent"],
                    "capturedResponseHeaders": ["X-From"],
                    "safeQueryParams": ["safe"],
                    "serviceName": "edge",
                    "resourceAttributes": {"deployment.environment": "test"},
                },
            }
            process = start(name, folder, static)
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
        for port in ports.values():
            eventually(lambda port=port: is_ready(port), "it routes", 60)  # type: ignore[misc]
        yield Pair(ports, collectors, app)


@contextlib.contextmanager
def environment(**names: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def is_ready(port: int) -> bool:
    try:
        return ask(port, "/quiet/x", "ready") == "200"
    except OSError:
        return False


def ask(port: int, target: str, case: str, *headers: str, method: str = "GET", body: bytes = b"") -> str:
    """The status."""
    lines = [f"{method} {target} HTTP/1.1", "Host: a.test", "User-Agent: t/1", f"X-Case: {case}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    peer = Peer(socket.create_connection(("127.0.0.1", port), timeout=30))
    with contextlib.closing(peer.sock):
        peer.send("\r\n".join([*lines, "", ""]).encode() + body)
        first, _, _ = peer.message(body=method != "HEAD")
    return first.split()[1]


def lines(spans: list[Span], parent: str = "", indent: str = "") -> list[str]:
    """The spans of one trace, each with those below it, in the order of time: all that has to be the same, as text."""
    found = []
    for span in sorted((span for span in spans if span.parent == parent), key=lambda span: span.start):
        found.append(f"{indent}{span.name} {KINDS[span.kind]}{' error' if span.error else ''} {span.state}".rstrip())
        for key, value in sorted(span.attributes.items()):
            if span.kind == 2 and key in ("client.port", "network.peer.port"):
                value = "of the client"
            found.append(f"{indent}  {key} = {value!r}")
        found += lines(spans, span.id, indent + "    ")
    return found


def spans_of(collector: Collector, case: str) -> list[Span]:
    """All of the traces of a case, as soon as that of the entry point, which ends last, is there."""

    def found() -> list[Span]:
        spans = collector.spans
        traces = {
            span.trace
            for span in spans
            if span.kind == 2 and span.attributes.get(f"http.request.header.{MARK}") == [case]
        }
        return [span for span in spans if span.trace in traces]

    first = eventually(found, f"spans of {case}", 30)
    return eventually(lambda: len(again := found()) >= len(first) and again, f"spans of {case}")


def both(pair: Pair, target: str, case: str, *headers: str, parent: str = "", **more: Any) -> dict[str, list[str]]:
    """The spans of each."""
    found = {}
    for name in NAMES:
        ask(pair.ports[name], target, case, *headers, **more)
        found[name] = lines(spans_of(pair.collectors[name], case), parent)
        assert found[name], f"{name} has no span below {parent!r}"
    return found


CASES: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "plain": ("/plain/x", (), {}),
    "query": ("/plain/x?a=1&safe=2", (), {}),
    "head": ("/plain/x", (), {"method": "HEAD"}),
    "post": ("/plain/x", (), {"method": "POST", "body": b"12345"}),
    "fetch": ("/plain/x", (), {"method": "FETCH"}),
    "absent": ("/plain/absent", (), {}),
    "failing": ("/plain/x?status=503", (), {}),
    "unrouted": ("/nowhere", (), {}),
    "detailed": ("/detailed/x", (), {}),
    "bodies": ("/bodies/x", (), {}),
    "nobody": ("/nobody/x", (), {}),
    "elsewhere": ("/elsewhere/x", (), {}),
    "basic": ("/basic/x", (), {}),
    "rewrite": ("/rewrite/x", (), {}),
    "ask": ("/ask/x", (), {}),
    "ask-refuse": ("/ask/x", (), {}),
    "minimal-ask": ("/minimalask/x", (), {}),
    "asknobody": ("/asknobody/x", (), {}),
    "page": ("/page/x", (), {}),
    "dead": ("/dead/x", (), {}),
    "empty": ("/empty/x", (), {}),
    "weighted": ("/weighted/x", (), {}),
}


# What lbcore has more (+) and less (-), by name of span or attribute; values of those that both have are the same.
DIFFERENCES = {
    "ask": ["+ http.response.header.x-from", "+ http.response.status_code"],
    "minimal-ask": ["+ http.response.header.x-from", "+ http.response.status_code"],
    "ask-refuse": [
        "- ForwardAuth internal", "+ ForwardAuth internal error", "- AuthRequest client",
        "+ AuthRequest client error", "+ http.response.header.x-from", "+ http.response.status_code",
    ],
    "page": [
        "- Service internal", "- traefik.service.name", "- ReverseProxy client", "- http.request.header.x-case",
        "- http.request.method", "- http.response.header.x-from", "- http.response.status_code",
        "- network.peer.address", "- network.peer.port", "- network.protocol.version", "- server.address",
        "- server.port", "- url.full", "- url.scheme", "- user_agent.original",
    ],
    "dead": [
        "- Retry internal", "- http.request.resend_count", "- traefik.middleware.name", "+ http.request.resend_count",
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_same_spans(pair: Pair, case: str) -> None:
    target, headers, more = CASES[case]
    found = both(pair, target, case, *headers, **more)
    changes = [line for line in difflib.ndiff(found["traefik"], found["lbcore"]) if line[0] in "+-"]
    told = [f"{line[0]} {line[1:].partition(' = ')[0].strip()}" for line in changes]
    assert sorted(told) == sorted(DIFFERENCES.get(case, [])), changes


@pytest.mark.parametrize("sampled", [True, False])
def test_a_trace_of_the_client(pair: Pair, sampled: bool) -> None:
    """The server is told the span of its attempt, in the client's trace; what is not sampled there leaves no span."""
    case, flag = f"client-{sampled}", f"0{sampled:d}"
    lines = (f"traceparent: 00-{TRACE[:-1]}{sampled:d}-{PARENT}-{flag}", "tracestate: a=b", "baggage: c=d")
    pair.app.requests.clear()
    if sampled:
        found = both(pair, "/detailed/x", case, *lines, parent=PARENT)
        assert found["lbcore"] == found["traefik"]
        assert found["lbcore"][0] == "GET server a=b"
    else:
        for name in NAMES:
            ask(pair.ports[name], "/plain/x", case, *lines)
            ask(pair.ports[name], "/plain/x", f"after {case}")
            spans_of(pair.collectors[name], f"after {case}")
            assert f"{TRACE[:-1]}0" not in {span.trace for span in pair.collectors[name].spans}
    told = [request[1] for request in pair.app.requests if request[1][MARK] == case]
    assert [(each["tracestate"], each["baggage"]) for each in told] == [("a=b", "c=d")] * 2
    assert {each["traceparent"][:36] + each["traceparent"][52:] for each in told} == {lines[0][13:49] + f"-{flag}"}
    assert PARENT not in [each["traceparent"][36:52] for each in told]


def test_resources(pair: Pair) -> None:
    """What both say of themselves is the same, but for what they are."""
    both(pair, "/plain/x", "resource")
    theirs, ours = (pair.collectors[name].spans[0].resource for name in NAMES)
    assert {"service.name": "edge", "deployment.environment": "test"}.items() <= ours.items()
    assert {key for key in theirs if key.startswith(("service.", "host.", "deployment."))} <= set(ours)
