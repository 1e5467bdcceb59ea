"""Middlewares that encode, limit and repeat, in real Traefik and in lbcore: the same answers."""

from __future__ import annotations

import contextlib
import gzip
import socket
from collections.abc import Collection, Iterator
from typing import Any

import brotli
import pytest
import zstandard

from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.traefik import both_serving
from tests.support.wire import Peer, Server

TEXT = b"".join(b"line %d of a long text\n" % number for number in range(500))
DECODERS = {
    "": bytes,
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}
BODIES = {
    "text": (TEXT, "text/plain"),
    "short": (TEXT[:100], "text/plain"),
    "png": (TEXT, "image/png"),
    "none": (TEXT, None),
    "page": (b"<html>" + TEXT, None),
    "image": (b"\x89PNG\r\n\x1a\n" + bytes(100), None),
    "binary": (bytes(range(256)), None),
    "empty": (b"", None),
    "coded": (gzip.compress(TEXT), "text/plain"),
}
MIDDLEWARES: dict[str, Any] = {
    "plain": {"headers": {"customRequestHeaders": {"X-Plain": "1"}}},
    "detect": {"contentType": {}},
    "detectnot": {"contentType": {"autoDetect": False}},
    "chars": {"encodedCharacters": {"allowEncodedSlash": True}},
    "compress": {"compress": {}},
    "compressbr": {"compress": {"encodings": ["br", "zstd"], "defaultEncoding": "br", "minResponseBodyBytes": 50}},
    "compressnot": {"compress": {"excludedContentTypes": ["image/png", "text/plain"]}},
    "compressonly": {"compress": {"includedContentTypes": ["image/png"]}},
    "errors": {"errors": {"status": ["500-599"], "service": "app", "query": "/p/{status}/{originalStatus}?u={url}"}},
    "rewrites": {
        "errors": {
            "status": ["404", "500-503"],
            "service": "app",
            "query": "{status}",
            "statusRewrites": {"500-502": 418},
        }
    },
    "errorstext": {"errors": {"status": ["500"], "service": "app", "query": "/x y/é|{originalStatus}"}},
    "errorsdown": {"errors": {"status": ["500"], "service": "refused", "query": "/"}},
    "errorsbare": {"errors": {"status": ["500"], "service": "app"}},
    "buffering": {"buffering": {"maxRequestBodyBytes": 100, "maxResponseBodyBytes": 5000}},
    "again": {"buffering": {"retryExpression": "ResponseCode() == 503 && Attempts() < 3"}},
    "breaker": {"circuitBreaker": {"expression": "ResponseCodeRatio(500, 600, 0, 600) > 0.5", "responseCode": 418}},
    "limit": {"rateLimit": {"average": 1, "period": "1h", "burst": 20}},
    "retry": {"retry": {"attempts": 3, "status": ["503"], "initialInterval": "1ms"}},
}


ASKED: list[str] = []  # what the server was asked for, by both


@pytest.fixture(name="seen")
def requests_seen() -> list[str]:
    return ASKED


def serve(peer: Peer) -> None:
    """What the last segment of the path names, or a status."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            first, _, _ = peer.message()
            ASKED.append(first)
            method, target, _ = first.split(" ")
            name = target.partition("?")[0].rpartition("/")[2]
            status = int(name) if name.isdigit() else 200
            body, kind = BODIES.get(name, (f"{method} {target}".encode(), "text/plain"))
            lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "X-Server: yes"]
            if kind:
                lines.append(f"Content-Type: {kind}")
            if name == "coded":
                lines.append("Content-Encoding: gzip")
            peer.send("\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else body))


def dynamic(server: str, refused: str) -> dict[str, Any]:
    return {
        "http": {
            "routers": {
                name: {"rule": f"PathPrefix(`/{name}/`)", "service": "app", "middlewares": [name]}
                for name in MIDDLEWARES
            },
            "middlewares": MIDDLEWARES,
            "services": {
                "app": {"loadBalancer": {"servers": [{"url": server}]}},
                "refused": {"loadBalancer": {"servers": [{"url": refused}]}},
            },
        }
    }


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The port of each of the two."""
    with contextlib.closing(Server(serve)) as server:
        asked = dynamic(server.url, f"http://127.0.0.1:{free_port()}")
        with both_serving(tmp_path_factory.mktemp("traffic"), asked, is_ready) as ports:
            yield ports


def is_ready(port: int) -> bool:
    try:
        return ask(port, "/plain/200")[0] == "200"
    except OSError:
        return False


def ask(
    port: int, target: str, *headers: str, method: str = "GET", body: bytes = b""
) -> tuple[str, dict[str, str], bytes]:
    """Status, headers, and the decoded body."""
    peer = Peer(socket.create_connection(("127.0.0.1", port), timeout=10))
    with contextlib.closing(peer.sock):
        peer.send("\r\n".join([f"{method} {target} HTTP/1.1", "Host: a.test", *headers, "", ""]).encode())
        peer.send(body)
        first, found, text = peer.message(body=method != "HEAD")
    decode = DECODERS[found.get("content-encoding", "")]
    return first.split()[1], found, decode(text) if text else text


def same(
    pair: dict[str, int],
    target: str,
    *headers: str,
    method: str = "GET",
    body: bytes = b"",
    but: Collection[str] = (),
) -> None:
    found = {}
    for name, port in pair.items():
        status, lines, text = ask(port, target, *headers, method=method, body=body)
        kept = {line: value for line, value in lines.items() if line not in {"date", *but}}
        if method != "HEAD" and "content-encoding" in lines:  # Go gives short ones a length
            kept.pop("content-length", None)
            kept.pop("transfer-encoding", None)
        found[name] = status, kept, text
    assert found["lbcore"] == found["traefik"]


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("middleware", ["plain", "detect", "detectnot"])
def test_types(pair: dict[str, int], middleware: str, name: str) -> None:
    for method in ("GET", "HEAD"):
        same(pair, f"/{middleware}/{name}", "Accept-Encoding: identity", method=method)


@pytest.mark.parametrize("code", ["%2F", "%5c", "%00", "%3b", "%25", "%3F", "%23", "%41", "%2e"])
def test_encoded_characters(pair: dict[str, int], code: str) -> None:
    same(pair, f"/chars/a{code}b/200")
    same(pair, f"/chars/200?a={code}")


# `Vary` is on all answers that some client gets encoded; Traefik has it on those that it encodes.
VARY = frozenset({"vary"})


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("middleware", ["compress", "compressbr", "compressnot", "compressonly"])
@pytest.mark.parametrize(
    "accept", ["gzip", "br;q=0.5, gzip;q=0.4", "zstd, br", "identity", "", None, "*", "gzip;q=0", "x"]
)
def test_codings(pair: dict[str, int], middleware: str, name: str, accept: str | None) -> None:
    if name == "coded" and not accept:
        return  # Traefik asks servers for gzip then, and unpacks it
    if BODIES[name][1] is None and middleware in ("compressnot", "compressonly"):
        return  # what Traefik takes for the type depends on the coding
    if accept == "*" and middleware in ("compress", "compressonly"):
        return  # Traefik's gzip wants to be called by its name
    lines = [] if accept is None else [f"Accept-Encoding: {accept}"]
    same(pair, f"/{middleware}/{name}", *lines, but=VARY)
    same(pair, f"/{middleware}/{name}", *lines, method="HEAD", but=VARY)


@pytest.mark.parametrize("name", ["errors", "rewrites", "errorstext", "errorsdown", "errorsbare"])
@pytest.mark.parametrize("status", ["200", "404", "499", "500", "502", "503", "599"])
def test_pages(pair: dict[str, int], name: str, status: str) -> None:
    for query in ("", "?", "?a=b%20c&d=%C3%A9"):
        same(pair, f"/{name}/x%20y/{status}{query}")
    same(pair, f"/{name}/{status}", "Content-Length: 3", method="POST", body=b"abc")
    same(pair, f"/{name}/{status}", method="HEAD")


@pytest.mark.parametrize("size", [0, 1, 100, 101, 5000])
def test_whole_bodies(pair: dict[str, int], size: int) -> None:
    body = b"x" * size
    same(pair, "/buffering/200", f"Content-Length: {size}", method="POST", body=body, but={"connection"})
    wire = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if size else b"0\r\n\r\n"
    same(pair, "/buffering/200", "Transfer-Encoding: chunked", method="POST", body=wire, but={"connection"})


def test_whole_answers(pair: dict[str, int]) -> None:
    for name in ("text", "short", "empty", "png"):
        same(pair, f"/buffering/{name}", "Accept-Encoding: identity")


@pytest.mark.parametrize("name", ["again", "retry"])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_further_attempts(pair: dict[str, int], seen: list[str], name: str, method: str) -> None:
    for status in ("200", "500", "503"):
        made = []
        for port in pair.values():
            before = len(seen)
            ask(port, f"/{name}/{status}", "Content-Length: 3", method=method, body=b"abc")
            made.append(len(seen) - before)
        assert made[0] == made[1]
        same(pair, f"/{name}/{status}", "Content-Length: 3", method=method, body=b"abc")


def test_a_breaker(pair: dict[str, int]) -> None:
    same(pair, "/breaker/200")
    for _ in range(2):
        same(pair, "/breaker/500")
    eventually(lambda: {ask(port, "/breaker/500")[0] for port in pair.values()} == {"418"}, "both have tripped")
    same(pair, "/breaker/200")


def test_a_rate(pair: dict[str, int]) -> None:
    """Exact over workers: each request comes by a connection of its own, which either of the two takes."""
    for port in pair.values():
        assert [ask(port, "/limit/200")[0] for _ in range(60)] == ["200"] * 20 + ["429"] * 40
    same(pair, "/limit/200", but={"x-retry-in", "retry-after"})
    for port in pair.values():
        _, headers, text = ask(port, "/limit/200")
        assert 3500 < int(headers["retry-after"]) <= 3600
        assert headers["x-retry-in"].startswith("59m")
        assert text == b"Too Many Requests"
