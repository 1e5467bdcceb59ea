"""The access log of real Traefik and of lbcore after requests that middlewares have answered, changed or repeated."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.differential.test_access_log import ask, fields
from tests.support.ports import free_port
from tests.support.traefik import NAMES
from tests.support.twins import twins
from tests.support.wire import Peer, Server

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


def serve(peer: Peer) -> None:
    """The statuses in the last segment of the path, one after the other for one client; `/auth`: who is asked for."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            first, headers, _ = peer.message()
            path = first.split()[1]
            status, lines = 200, ""
            if path.startswith("/auth"):
                status = 200 if "x-who" in headers else 401
                lines = f"X-Who: {headers.get('x-who', 'nobody')}\r\n"
            else:
                name = path.partition("?")[0].rpartition("/")[2]
                status = int(name) if name.isdigit() else 200
            body = b"" if first.startswith("HEAD ") else b"x" * 2000
            lines += f"Content-Type: text/plain\r\nContent-Length: {2000}\r\nX-Origin: {path}\r\n"
            peer.send(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body)


MIDDLEWARES: dict[str, Any] = {
    "basic": {"basicAuth": {"users": [f"ann:{HASH}"]}},
    "digest": {"digestAuth": {"users": ["ann:traefik:2f3a1b4c5d6e7f8091a2b3c4d5e6f708"]}},
    "forward": {"forwardAuth": {"address": "{url}/auth", "headerField": "X-Who"}},
    "retry": {"retry": {"attempts": 3, "status": ["503"], "initialInterval": "1ms"}},
    "unreached": {"retry": {"attempts": 2, "initialInterval": "1ms"}},
    "limit": {"rateLimit": {"average": 1, "period": "1h", "burst": 1}},
    "none": {"inFlightReq": {"amount": 0, "sourceCriterion": {"requestHost": True}}},
    "list": {"ipAllowList": {"sourceRange": ["192.0.2.1"]}},
    "small": {"buffering": {"maxRequestBodyBytes": 10}},
    "compress": {"compress": {"encodings": ["gzip"]}},
    "page": {"errors": {"status": ["500-599"], "service": "app", "query": "/page"}},
    "breaker": {"circuitBreaker": {"expression": "ResponseCodeRatio(500, 600, 0, 600) > 0.5"}},
    "add": {"addPrefix": {"prefix": "/added"}},
    "heads": {"headers": {"customResponseHeaders": {"X-Origin": "changed", "X-More": "1"}}},
    "replace": {"replacePathRegex": {"regex": "^/replace/(.*)", "replacement": "/new/$1"}},
    "white": {"ipWhiteList": {"sourceRange": ["192.0.2.1"]}},
    "strip": {"stripPrefix": {"prefixes": ["/strip"]}},
    "expression": {"stripPrefixRegex": {"regex": ["/expr[a-z]+"]}},
    "path": {"replacePath": {"path": "/other"}},
    "scheme": {"redirectScheme": {"scheme": "https", "permanent": True}},
    "elsewhere": {"redirectRegex": {"regex": "^http://([^/]+)/elsewhere/(.*)", "replacement": "https://$1/$2"}},
    "type": {"contentType": {}},
    "encoded": {"encodedCharacters": {"allowEncodedPercent": True}},
    "origins": {"headers": {"accessControlAllowMethods": ["PUT"], "accessControlAllowOriginList": ["https://a.test"]}},
    "hosts": {"headers": {"allowedHosts": ["other.test"]}},
    "chained": {"chain": {"middlewares": ["add", "heads"]}},
    "certificate": {"passTLSClientCert": {"pem": True}},
    "pages": {"grpcWeb": {"allowOrigins": ["https://a.test"]}},
}


def get(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def basic(text: bytes) -> str:
    return f"Authorization: Basic {base64.b64encode(text).decode()}"


REQUESTS = [
    get("/basic/200"),
    get("/basic/200", basic(b"ann:secret")),
    get("/basic/200", basic(b"ann:wrong")),
    get("/basic/200", basic(b"eve:wrong")),
    get("/basic/200", basic(b"an n:wrong")),
    get("/basic/200", "Authorization: Basic ***"),
    get("/basic/200", "Authorization: Bearer x"),
    get("/digest/200"),
    get("/digest/200", 'Authorization: Digest username="eve", realm="x", nonce="x", uri="/", response="x"'),
    get("/forward/200", "X-Who: ann"),
    get("/forward/200"),
    get("/retry/200"),
    get("/retry/503"),
    get("/unreached/200"),
    get("/limit/200"),
    get("/limit/200"),
    get("/none/200"),
    get("/list/200"),
    b"POST /small/200 HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n" + b"x" * 20,
    get("/compress/200", "Accept-Encoding: gzip"),
    get("/page/500"),
    get("/heads/200"),
    get("/breaker/500"),
    get("/breaker/200"),
    get("/add/200"),
    get("/replace/200?x=1"),
    get("/white/200"),
    get("/strip/200?x=1"),
    get("/expression/200"),
    get("/path/200?x=1"),
    get("/scheme/200?x=1"),
    get("/elsewhere/200"),
    get("/type/200"),
    get("/encoded/a%2Fb/200"),
    get("/encoded/200"),
    get("/origins/200", "Origin: https://a.test", "Access-Control-Request-Method: PUT").replace(b"GET", b"OPTIONS", 1),
    get("/hosts/200"),
    get("/chained/200"),
    get("/certificate/200", "X-Forwarded-Tls-Client-Cert: mine"),
    get(
        "/pages/200",
        "Origin: https://a.test",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: content-type, x-grpc-web",
    ).replace(b"GET", b"OPTIONS", 1),
    get("/pages/200"),
]


def dynamic(url: str) -> dict[str, Any]:
    middlewares = json.loads(json.dumps(MIDDLEWARES).replace("{url}", url))
    routers = {
        name: {
            "rule": f"PathPrefix(`/{name}/`)",
            "service": "gone" if name == "unreached" else "app",
            "middlewares": [name],
        }
        for name in middlewares
    }
    routers["noop"] = {"rule": "PathPrefix(`/noop`)", "service": "noop@internal"}
    services = {
        "app": {"loadBalancer": {"servers": [{"url": url}]}},
        "gone": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{free_port()}"}]}},
    }
    return {"http": {"routers": routers, "middlewares": middlewares, "services": services}}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder, server = tmp_path_factory.mktemp("log"), Server(serve)
    points = {"web": {}, "quiet": {"observability": {"accessLogs": False}}}
    kept = dict.fromkeys(("X-Origin", "X-More", "Content-Encoding"), "keep")
    headers = {"defaultMode": "drop", "names": kept}
    log = {"filePath": str(folder / "access-{name}"), "format": "json", "fields": {"headers": headers}}
    try:
        with twins(folder, {"entryPoints": points, "accessLog": log}, dynamic(server.url), "quiet", "/noop") as both:
            for name in NAMES:
                for request in REQUESTS:
                    ask(both, name, folder, request)
        return {name: Path(folder / f"access-{name}").read_text().split("\n")[:-1] for name in NAMES}
    finally:
        server.close()


# What differs on purpose: see docs/differences.md. Traefik counts what the middlewares have made of the origin's body.
OTHERS = {
    "unreached": ("OriginStatus", "OriginContentSize", "RetryAttempts"),
    "compress": ("DownstreamContentSize", "OriginContentSize", "GzipRatio"),
    "retry": ("RetryAttempts",),
}


@pytest.mark.parametrize("number", range(len(REQUESTS)), ids=str)
def test_same_fields(lines: dict[str, list[str]], number: int) -> None:
    theirs, ours = (fields(lines[name][number]) for name in NAMES)
    for key in OTHERS.get(theirs["RequestPath"].split("/")[1], ()):
        theirs.pop(key, None)
        ours.pop(key, None)
    assert ours == theirs


def test_fields_of_lbcore_that_say_more(lines: dict[str, list[str]]) -> None:
    found: dict[str, list[Any]] = {}
    for line in map(json.loads, lines["lbcore"]):
        found.setdefault(line["RequestPath"].split("/")[1], []).append(line)
    assert [line["RetryAttempts"] for line in found["retry"]] == [0, 2]
    assert [line["RetryAttempts"] for line in found["unreached"]] == [1]
    (line,) = found["compress"]
    assert line["OriginContentSize"] == 2000 > line["DownstreamContentSize"] > 0
    assert line["GzipRatio"] == 2000 / line["DownstreamContentSize"]
