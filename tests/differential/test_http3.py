"""HTTP/3 of real Traefik and of lbcore: what servers see of requests, and what clients see of answers and refusals."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import certificate
from tests.support.http3 import Http3Client
from tests.support.traefik import NAMES
from tests.support.twins import Twins, describe, get, twins
from tests.support.wire import Peer, Server, config_for

POINTS: dict[str, Any] = {
    "plain": {},
    "web": {"http3": {}, "http": {"tls": {}}},
    "told": {"http3": {"advertisedPort": 8443}, "http": {"tls": {}}, "forwardedHeaders": {"insecure": True}},
}
OWN = {"x-forwarded-port", "x-forwarded-server", "x-forwarded-for"}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    folder: Path = tmp_path_factory.mktemp("http3")
    server = Server(describe)
    dynamic = config_for(server.url)
    app = {"service": "all", "entryPoints": ["web", "told"]}
    dynamic["http"]["routers"] = {
        "up": {"rule": "Path(`/`)", "service": "noop@internal", "entryPoints": ["plain"]},
        "any": {"rule": "PathPrefix(`/`) && !PathPrefix(`/none`)", **app},
        "noop": {"rule": "PathPrefix(`/noop`)", **app, "service": "noop@internal"},
        "strip": {"rule": "PathPrefix(`/strip`)", **app, "middlewares": ["strip"]},
        "redirect": {"rule": "PathPrefix(`/redirect`)", **app, "middlewares": ["redirect"]},
        "cookie": {"rule": "Header(`Cookie`, `a=1; b=2`)", "priority": 100, **app, "middlewares": ["cookie"]},
    }
    dynamic["http"]["middlewares"] = {
        "strip": {"stripPrefix": {"prefixes": ["/strip"]}},
        "redirect": {"redirectScheme": {"scheme": "https", "port": "444"}},
        "cookie": {"headers": {"customResponseHeaders": {"X-Cookie": "both"}}},
    }
    dynamic["tls"] = {"certificates": [certificate(folder, "a", "a.test").entry]}
    try:
        with twins(folder, {"entryPoints": POINTS}, dynamic, only="plain") as pair:
            yield pair
    finally:
        server.close()


def ask(both: Twins, name: str, point: str, fields: list[tuple[str, str]], body: bytes, trailers: bool) -> Any:
    """The status and what the server was asked, or the code of the reset."""
    client = Http3Client(("127.0.0.1", both.ports[name][point])).handshake()
    with contextlib.closing(client):
        stream = client.quic.get_next_available_stream_id()
        head = [(one.encode(), other.encode()) for one, other in fields]
        client.http.send_headers(stream, head, end_stream=not body and not trailers)
        if body:
            client.http.send_data(stream, body, end_stream=not trailers)
        if trailers:
            client.http.send_headers(stream, [(b"x-t", b"1")], end_stream=True)
        answer = client.answer(stream)
    if not answer.head:
        return answer.reset, client.terminated
    kept = {key: answer.head.get(key) for key in (":status", "content-type", "location", "x-cookie", "x-up")}
    if not answer.body.startswith(b"{"):
        return kept, answer.body
    seen = json.loads(answer.body)
    headers = {key: value for key, value in seen["headers"].items() if key not in OWN}
    return kept, seen["first"], headers, seen["body"], seen["headers"]["x-forwarded-for"]


def request(path: str = "/x", method: str = "GET", **more: str) -> list[tuple[str, str]]:
    found = {":method": method, ":scheme": "https", ":authority": "a.test", ":path": path}
    found |= {f":{key}": value for key, value in more.items()}
    return [*found.items(), ("accept-encoding", "gzip"), ("user-agent", "t")]


# Fields, a body, and whether trailers come.
CASES: dict[str, tuple[list[tuple[str, str]], bytes, bool]] = {
    "a request": (request(), b"", False),
    "a path": (request("/a//b/../c/%41%2f?x=1;y=2&z=%20"), b"", False),
    "a host with a port": (request(authority="A.test:444"), b"", False),
    "pieces of a cookie": ([*request(), ("cookie", "a=1"), ("cookie", "b=2")], b"", False),
    "forwarded": ([*request(), ("x-forwarded-for", "1.2.3.4"), ("x-forwarded-host", "f.test")], b"", False),
    "aliases": ([*request(), ("x_mine", "1"), ("x_real_ip", "1")], b"", False),
    "a header twice": ([*request(), ("x-v", "a"), ("x-v", "b")], b"", False),
    "bytes above 127": ([*request(), ("x-v", "é")], b"", False),
    "a length": ([*request(method="POST"), ("content-length", "3")], b"abc", False),
    "no length": (request(method="POST"), b"abc", False),
    "trailers": ([*request(method="PUT"), ("content-length", "3")], b"abc", True),
    "too long a body": ([*request(method="POST"), ("content-length", "2")], b"abc", False),
    "HEAD": (request(method="HEAD"), b"", False),
    "DELETE": (request(method="DELETE"), b"", False),
    "no router": (request("/none"), b"", False),
    "no server": (request("/noop"), b"", False),
    "a prefix": (request("/strip/a%2fb?c"), b"", False),
    "a redirection": (request("/redirect/a?b"), b"", False),
    "a name in capitals": ([*request(), ("X-V", "1")], b"", False),
    "connection": ([*request(), ("connection", "close")], b"", False),
    "transfer-encoding": ([*request(), ("transfer-encoding", "chunked")], b"", False),
    "a pseudo header of no one": ([(":x", "1"), *request()], b"", False),
    "a pseudo header behind a header": ([*request(), (":path", "/y")], b"", False),
    "no path": ([pair for pair in request() if pair[0] != ":path"], b"", False),
    "an empty path": (request(""), b"", False),
}


@pytest.mark.parametrize("case", CASES)
def test_same_request_same_outcome(both: Twins, case: str) -> None:
    fields, body, trailers = CASES[case]
    for point in ("web", "told"):
        found = {name: ask(both, name, point, fields, body, trailers) for name in NAMES}
        assert found["lbcore"] == found["traefik"]


@pytest.mark.parametrize("point", ["web", "told"])
def test_same_announcement(both: Twins, point: str) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    found = {}
    for name in NAMES:
        with context.wrap_socket(both.client(name, point).sock, server_hostname="a.test") as sock:
            headers = Peer(sock).ask(get("/none"))[1]
        found[name] = headers["alt-svc"].replace(str(both.ports[name][point]), "PORT")
    assert found["lbcore"] == found["traefik"]
