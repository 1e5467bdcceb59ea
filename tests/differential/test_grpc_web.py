"""grpcWeb in real Traefik and in lbcore, before one server of gRPC: calls, refusals, what pages may ask, the rest.

Browsers send no `TE`, which servers of gRPC in C ask for: lbcore adds it, and Traefik does not.
"""

from __future__ import annotations

import base64
import contextlib
import re
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.http2 import Http2Client
from tests.support.traefik import NAMES
from tests.support.twins import Twins, describe, get, twins
from tests.support.wire import serving
from tests.wire.test_grpc import Echo, method, server
from tests.wire.test_grpc_web import PAGE, decoded, framed, frames

NO_TRAILERS = b"\x80\0\0\0\0"
OTHER = "https://other.test"
LISTS = ("access-control-expose-headers", "access-control-allow-headers")
NOT_COMPARED = ("date", "content-length", "transfer-encoding", "grpc-accept-encoding")


def dynamic(url: str, plain: str) -> dict[str, Any]:
    return {
        "http": {
            "routers": {
                "page": {"rule": "Path(`/page`)", "service": "plain", "middlewares": ["one"], "priority": 60},
                "pages": {
                    "rule": "Host(`any.test`) && Path(`/page`)",
                    "service": "plain",
                    "middlewares": ["any"],
                    "priority": 70,
                },
                "one": {"rule": "PathPrefix(`/`)", "service": "app", "middlewares": ["one"]},
                "any": {"rule": "Host(`any.test`)", "service": "app", "middlewares": ["any"], "priority": 50},
                "up": {"rule": "Path(`/up`)", "service": "noop@internal", "priority": 100},
                "away": {"rule": "Path(`/away`)", "service": "away", "priority": 100},
                "metrics": {"rule": "Path(`/metrics`)", "service": "prometheus@internal", "priority": 100},
            },
            "middlewares": {"one": {"grpcWeb": {"allowOrigins": [PAGE]}}, "any": {"grpcWeb": {"allowOrigins": ["*"]}}},
            "services": {
                "app": {"loadBalancer": {"servers": [{"url": url}]}},
                "plain": {"loadBalancer": {"servers": [{"url": plain}]}},
                "away": {"loadBalancer": {"servers": []}},
            },
        }
    }


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    folder: Path = tmp_path_factory.mktemp("grpc-web")
    with server(Echo("a")) as url, serving(describe) as plain:
        metrics = {"prometheus": {"addRoutersLabels": True, "manualRouting": True}}
        static = {"entryPoints": {"web": {}}, "metrics": metrics}
        with twins(folder, static, dynamic(url, plain.url), path="/up") as pair:
            yield pair


def ask(both: Twins, *lines: str, body: bytes = b"") -> dict[str, tuple[str, dict[str, Any], bytes]]:
    found = {}
    for name in NAMES:
        with contextlib.closing(both.client(name, "web")) as client:
            first, headers, answer = client.ask("\r\n".join([*lines, "", ""]).encode() + body)
        kept: dict[str, Any] = {key: value for key, value in headers.items() if key not in NOT_COMPARED}
        for key in LISTS:
            if key in kept:
                listed = {one.strip().lower() for one in kept[key].split(",")}
                kept[key] = listed - {"grpc-accept-encoding", "content-length"}
        found[name] = (first.split()[1], kept, answer)
    return found


def call(name: str, kind: str, body: bytes, *lines: str) -> tuple[list[str], bytes]:
    head = [f"POST {method(name)} HTTP/1.1", f"Content-Type: {kind}", "X-Grpc-Web: 1", *lines]
    return [*head, f"Content-Length: {len(body)}"], body


def contents(body: bytes, text: bool) -> Any:
    """Messages and trailers. A refusal has its status among the headers, and nothing, or no trailers, behind them."""
    body = decoded(body) if text else body
    return frames(body) if body not in (b"", NO_TRAILERS) else None


@pytest.mark.parametrize("origin", ["", PAGE, OTHER])
@pytest.mark.parametrize("kind", ["", "+proto", "-text", "-text+proto"])
@pytest.mark.parametrize("name", ["unary", "many", "refused", "total", "absent"])
def test_calls(both: Twins, name: str, kind: str, origin: str) -> None:
    text = "text" in kind
    body = base64.b64encode(framed(b"3")) if text else framed(b"3")
    for host in ("a.test", "any.test"):
        lines = [f"Host: {host}", "TE: trailers", *([f"Origin: {origin}"] if origin else [])]
        head, sent = call(name, f"application/grpc-web{kind}", body, *lines)
        answers = ask(both, *head, body=sent)
        theirs, ours = answers["traefik"], answers["lbcore"]
        assert ours[:2] == theirs[:2]
        assert contents(ours[2], text) == contents(theirs[2], text)


@pytest.mark.parametrize("asks", ["OPTIONS", "GET"])
@pytest.mark.parametrize("origin", ["", PAGE, OTHER])
@pytest.mark.parametrize("wants", ["", "content-type, x-grpc-web", "content-type", "x-other, x-grpc-web", "X-GRPC-WEB"])
def test_preflight_requests(both: Twins, asks: str, origin: str, wants: str) -> None:
    for host in ("a.test", "any.test"):
        for asked in ("POST", "GET", ""):
            lines = [f"{asks} /page HTTP/1.1", f"Host: {host}", "TE: trailers"]
            lines += [f"Origin: {origin}"] if origin else []
            lines += [f"Access-Control-Request-Headers: {wants}"] if wants else []
            lines += [f"Access-Control-Request-Method: {asked}"] if asked else []
            answers = ask(both, *lines)
            assert answers["lbcore"][:2] == answers["traefik"][:2], lines


def test_a_call_without_te(both: Twins) -> None:
    head, body = call("unary", "application/grpc-web", framed(b"3"), "Host: a.test", f"Origin: {PAGE}")
    answers = ask(both, *head, body=body)
    assert (answers["lbcore"][0], answers["traefik"][0]) == ("200", "500")
    assert contents(answers["lbcore"][2], False)[0] == [b"3a"]


def counted(both: Twins, name: str) -> Counter[tuple[str, frozenset[tuple[str, str]]]]:
    """Requests of gRPC so far, by all labels."""
    with contextlib.closing(both.client(name, "web")) as client:
        text = client.ask(get("/metrics"))[2].decode()
    found = Counter[tuple[str, frozenset[tuple[str, str]]]]()
    pattern = rf"^{name}_(entrypoint|router|service)_requests_total\{{(.*)\}} (\S+)$"
    for kind, labels, value in re.findall(pattern, text, re.MULTILINE):
        if 'protocol="grpc' in labels:
            found[kind, frozenset(re.findall(r'(\w+)="([^"]*)"', labels))] += int(float(value))
    return found


def over_http2(both: Twins, name: str, host: str, path: str, kind: str) -> None:
    body = base64.b64encode(framed(b"3")) if "text" in kind else framed(b"3")
    fields = [(":method", "POST"), (":scheme", "http"), (":authority", host), (":path", path)]
    with socket.create_connection(("127.0.0.1", both.ports[name]["web"])) as sock:
        client = Http2Client(sock)
        stream = client.open()
        more = [("content-type", f"application/grpc{kind}"), ("te", "trailers"), ("x-grpc-web", "1")]
        client.headers(stream, [*fields, *more], end=False)
        client.upload(stream, body)
        assert client.answer(stream).ended


def test_the_same_calls_are_counted(both: Twins) -> None:
    found = {}
    for name in NAMES:
        before = counted(both, name)
        for called in ("unary", "many", "refused", "total", "absent"):
            for host, kind in (("a.test", "-web"), ("any.test", "-web-text"), ("a.test", ""), ("any.test", "+proto")):
                over_http2(both, name, host, method(called), kind)
        found[name] = counted(both, name) - before
    # Traefik does not see a status that is in trailers, and counts the call as one of unknown status.
    theirs = {(kind, labels - {("code", "2")} | {("code", "0")}) if ("code", "2") in labels else (kind, labels): count
              for (kind, labels), count in found["traefik"].items()}  # fmt: skip
    assert found["lbcore"] == theirs
    assert {dict(labels)["code"] for _, labels in found["lbcore"]} > {"0", "12"}


def test_what_is_answered_in_a_servers_place_counts_as_the_client_sees_it(both: Twins) -> None:
    before = counted(both, "lbcore")
    over_http2(both, "lbcore", "a.test", "/away", "")
    found = counted(both, "lbcore") - before
    assert found
    assert {(dict(labels)["code"], dict(labels)["protocol"]) for _, labels in found} == {("14", "grpc")}
