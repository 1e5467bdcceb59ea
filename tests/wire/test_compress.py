"""compress: what is encoded, and that it is whole, as it comes, and never twice."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import pytest
import zstandard

from tests.support.instance import eventually
from tests.support.recorder import GET, answered, recorders, through
from tests.support.wire import Peer, edge, serving

TEXT = b"".join(b"line %d of a text that is long enough to be encoded\n" % number for number in range(2000))
CODINGS = ["gzip", "br", "zstd"]


def decoder(coding: str) -> Callable[[bytes], bytes]:
    """What decodes a body piece by piece."""
    if coding == "gzip":
        return zlib.decompressobj(31).decompress
    if coding == "br":
        found: Callable[[bytes], bytes] = brotli.Decompressor().process
        return found
    return zstandard.ZstdDecompressor().decompressobj().decompress


def wants(coding: str, request: bytes = GET) -> bytes:
    return request.replace(b"\r\n\r\n", f"\r\nAccept-Encoding: {coding}\r\n\r\n".encode(), 1)


def answer(body: bytes, *headers: str, status: int = 200) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(*pieces: bytes, trailer: bytes = b"") -> bytes:
    wire = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n" + wire + b"0\r\n" + trailer + b"\r\n"


def compress(**options: Any) -> dict[str, Any]:
    return {"compress": options}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("wire", [answer(TEXT), chunked(TEXT), chunked(TEXT[:10], TEXT[10:])])
def test_bodies_are_encoded_as_the_client_wants(coding: str, wire: bytes) -> None:
    first, headers, body = answered(wire, compress(), request=wants(coding))
    assert (first.split()[1], headers["content-encoding"], headers["vary"]) == ("200", coding, "Accept-Encoding")
    assert "content-length" not in headers
    assert decoder(coding)(body) == TEXT
    assert len(body) < len(TEXT) / 5


def test_what_describes_the_plain_bytes_does_not_describe_the_encoded_ones() -> None:
    told = ["Accept-Ranges: bytes", "Content-MD5: x", "Digest: x", "Content-Digest: x", "Repr-Digest: x"]
    _, headers, _ = answered(answer(TEXT, 'ETag: "v1"', *told), compress(), request=wants("gzip"))
    assert headers["etag"] == 'W/"v1"'
    assert not {line.partition(":")[0].lower() for line in told} & set(headers)
    _, headers, body = answered(answer(TEXT, 'ETag: W/"v1"', *told), compress(), request=wants("gzip"))
    assert headers["etag"] == 'W/"v1"'
    _, headers, body = answered(answer(TEXT, 'ETag: "v1"', *told), compress())
    assert (headers["etag"], headers["accept-ranges"], body) == ('"v1"', "bytes", TEXT)


LEFT_ALONE = {
    "short": (answer(TEXT[:1023]), {}),
    "encoded": (answer(TEXT, "Content-Encoding: x"), {}),
    "part": (answer(TEXT, "Content-Range: bytes 0-9/10", status=206), {}),
    "range": (answer(TEXT, "Content-Range: bytes 0-9/10"), {}),
    "no-transform": (answer(TEXT, "Cache-Control: public, no-transform"), {}),
    "events": (answer(TEXT, "Content-Type: text/event-stream; charset=utf-8"), {}),
    "grpc": (answer(TEXT, "Content-Type: application/grpc+proto"), {}),
    "no type": (answer(TEXT, "Content-Type: ;x"), {}),
    "excluded": (answer(TEXT, "Content-Type: Image/PNG; x=y"), {"excludedContentTypes": ["image/png", "a/b"]}),
    "not included": (answer(TEXT, "Content-Type: a/b"), {"includedContentTypes": ["image/png"]}),
    "included, without type": (answer(TEXT), {"includedContentTypes": ["image/png"]}),
    "below the least": (answer(TEXT), {"minResponseBodyBytes": len(TEXT) + 1}),
    "another coding": (answer(TEXT), {"encodings": ["br"]}),
    "chunked and short": (chunked(TEXT[:1023]), {}),
    "chunked and empty": (chunked(), {}),
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_answers_that_are_left_alone(case: str) -> None:
    wire, options = LEFT_ALONE[case]
    first, headers, body = answered(wire, compress(**options), request=wants("gzip"))
    plain = answered(wire, request=wants("gzip"))
    headers.pop("vary", None)
    assert (first, {**headers, "date": ""}, body) == (plain[0], {**plain[1], "date": ""}, plain[2])


@pytest.mark.parametrize(
    ("wire", "options"),
    [
        (answer(TEXT[:1024]), {}),
        (answer(TEXT[:30]), {"minResponseBodyBytes": 30}),
        (answer(TEXT, "Content-Type: image/png"), {"excludedContentTypes": ["text/html"]}),
        (answer(TEXT, "Content-Type: IMAGE/png ; q=1"), {"includedContentTypes": ["Image/png"]}),
        (answer(TEXT, "Content-Type: text/event-stream"), {"includedContentTypes": ["text/event-stream"]}),
        (answer(TEXT, status=404), {}),
    ],
)
def test_answers_that_are_encoded(wire: bytes, options: dict[str, Any]) -> None:
    assert answered(wire, compress(**options), request=wants("gzip"))[1]["content-encoding"] == "gzip"


def test_heads_and_requests_of_excluded_types_are_left_alone() -> None:
    head = wants("gzip", GET.replace(b"GET", b"HEAD"))
    assert "content-encoding" not in answered(answer(TEXT), compress(), request=head)[1]
    grpc = wants("gzip").replace(b"\r\n\r\n", b"\r\nContent-Type: application/grpc\r\n\r\n")
    assert "content-encoding" not in answered(answer(TEXT), compress(), request=grpc)[1]
    for status in (204, 304):
        wire = f"HTTP/1.1 {status} X\r\n\r\n".encode()
        assert not {"vary", "content-encoding"} & set(answered(wire, compress(), request=wants("gzip"))[1])


def test_clients_that_say_nothing_get_the_default() -> None:
    assert answered(answer(TEXT), compress(defaultEncoding="br"))[1]["content-encoding"] == "br"
    _, headers, body = answered(answer(TEXT), compress())
    assert ("content-encoding" in headers, headers["vary"], body) == (False, "Accept-Encoding", TEXT)
    assert answered(answer(TEXT, "Vary: Origin, accept-encoding"), compress())[1]["vary"] == "Origin, accept-encoding"


@pytest.mark.parametrize("known", [True, False])
def test_nothing_is_encoded_twice(known: bool) -> None:
    """Of two, the one nearer to the server does it, also where both hold the head back for want of a length."""
    sent = answer(TEXT) if known else chunked(TEXT)
    _, headers, body = answered(sent, compress(encodings=["br"]), compress(), request=wants("gzip, br"))
    assert headers["content-encoding"] == "gzip"
    assert decoder("gzip")(body) == TEXT


def test_trailers_pass() -> None:
    def script(peer: Peer) -> None:
        peer.message()
        peer.send(chunked(TEXT, trailer=b"X-Sum: 1\r\n").replace(b"\r\n\r\n", b"\r\nTrailer: X-Sum\r\n\r\n", 1))

    with serving(script) as server, edge(through(server.url, compress())) as lb:
        client = lb.client()
        client.send(wants("zstd").replace(b"\r\n\r\n", b"\r\nTE: trailers\r\nConnection: TE\r\n\r\n"))
        client.head()
        body, trailers = client.chunks()
        assert decoder("zstd")(body) == TEXT
        assert trailers == b"X-Sum: 1\r\n"


@pytest.mark.parametrize("coding", CODINGS)
def test_what_a_server_flushes_comes_at_once(coding: str) -> None:
    """The next piece is sent when the client has the one before."""
    got = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(5):
            peer.send(b"8\r\npiece %02d\r\n" % number)
            assert got.acquire(timeout=60)
        peer.send(b"0\r\n\r\n")

    with serving(script) as server, edge(through(server.url, compress())) as lb:
        client = lb.client()
        client.send(wants(coding))
        assert client.head()[1]["content-encoding"] == coding
        decode, text = decoder(coding), b""
        for number in range(5):
            while not text.endswith(b"piece %02d" % number):
                text += decode(client.exactly(int(client.until(b"\r\n"), 16)))
                client.exactly(2)
            got.release()
        body, _ = client.chunks()
        assert text + decode(body) == b"".join(b"piece %02d" % number for number in range(5))


@pytest.mark.parametrize("coding", CODINGS)
def test_a_slow_client_holds_up_the_server(coding: str) -> None:
    """What does not shrink: the sockets are full long before the end."""
    body = os.urandom(30_000_000)
    taken = []

    def script(peer: Peer) -> None:
        peer.message()
        rest = peer.fill(answer(body))
        taken.append(len(rest))
        peer.send(rest)

    with serving(script) as server, edge(through(server.url, compress())) as lb:
        client = lb.client()
        client.send(wants(coding))
        eventually(lambda: taken, "the server can send no more")
        decode, _, received = decoder(coding), client.head(), client.chunks()[0]
        assert decode(received) == body


def test_a_server_that_fails_in_its_body_does_not_look_complete() -> None:
    def script(peer: Peer) -> None:
        peer.message()
        peer.send(answer(TEXT)[:-1])

    with serving(script) as server, edge(through(server.url, compress())) as lb:
        client = lb.client()
        client.send(wants("gzip"))
        client.head()
        assert not client.to_the_end().endswith(b"0\r\n\r\n")


def test_answers_of_lbcores_own_and_types_that_are_found() -> None:
    with recorders("a") as (a,):
        dynamic = through(a.url, compress(minResponseBodyBytes=5), {"contentType": {}})
        with edge(dynamic) as lb:
            a.answer = lambda *request: (200, b"<html>" + TEXT)
            client = lb.client()
            _, headers, body = client.ask(wants("gzip"))
            assert headers["content-type"] == "text/html; charset=utf-8"
            assert decoder("gzip")(body) == b"<html>" + TEXT
            a.close()
            dynamic["http"]["services"]["all"] = {"loadBalancer": {"servers": []}}
            lb.apply(dynamic)
            first, headers, body = client.ask(wants("gzip"))
            assert (first.split()[1], headers["content-encoding"]) == ("503", "gzip")
            assert decoder("gzip")(body) == b"no available server\n"


def test_a_client_of_http_1_0_gets_an_end() -> None:
    def script(peer: Peer) -> None:
        peer.message()
        peer.send(answer(TEXT))

    with serving(script) as server, edge(through(server.url, compress())) as lb:
        client = lb.client()
        client.send(wants("gzip").replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert client.head()[1]["content-encoding"] == "gzip"
        assert decoder("gzip")(client.to_the_end()) == TEXT
