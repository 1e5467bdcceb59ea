"""grpcWeb: calls of browsers to a server of gRPC, as bytes and as text, and what pages may call."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import pytest

from tests.support.recorder import through
from tests.support.wire import Edge, Peer, edge, serving
from tests.wire.test_grpc import Echo, method, server

PAGE = "https://page.test"


def framed(message: bytes, flags: int = 0) -> bytes:
    return bytes([flags]) + len(message).to_bytes(4, "big") + message


def frames(body: bytes) -> tuple[list[bytes], dict[str, str]]:
    """The messages of a body, and its trailers."""
    messages, trailers, at = [], None, 0
    while at < len(body):
        size = int.from_bytes(body[at + 1 : at + 5], "big")
        content = body[at + 5 : at + 5 + size]
        assert trailers is None
        if body[at] & 0x80:
            lines = content.decode().rstrip("\r\n").split("\r\n")
            trailers = dict(line.split(": ", 1) for line in lines)
        else:
            messages.append(content)
        at += 5 + size
    assert trailers is not None
    return messages, trailers


def call(name: str, body: bytes, kind: str = "application/grpc-web+proto", chunked: bool = False) -> bytes:
    lines = [f"POST {method(name)} HTTP/1.1", "Host: a", f"Content-Type: {kind}", "X-Grpc-Web: 1", f"Origin: {PAGE}"]
    if not chunked:
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    wire = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode() + wire


@contextlib.contextmanager
def web(**options: Any) -> Any:
    echo = Echo("a")
    with server(echo) as url, edge(through(url, {"grpcWeb": {"allowOrigins": [PAGE], **options}})) as lb:
        yield lb


def decoded(text: bytes) -> bytes:
    """Of base64 whose parts are padded by themselves."""
    found = b""
    while text:
        end = text.find(b"=")
        end = len(text) if end < 0 else (end & ~3) + 4
        found += base64.b64decode(text[:end], validate=True)
        text = text[end:]
    return found


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("text", [False, True])
def test_calls(text: bool, chunked: bool) -> None:
    with web() as lb:
        client = lb.client()
        for message in (b"", b"x", b"text", bytes(range(256)) * 1000):
            body = framed(message)
            kind = "application/grpc-web" + ("-text" if text else "") + "+proto"
            wire = base64.b64encode(body) if text else body
            first, headers, answer = client.ask(call("unary", wire, kind, chunked))
            assert (first.split()[1], headers["access-control-allow-origin"]) == ("200", PAGE)
            assert headers["content-type"].startswith("application/grpc-web-text" if text else "application/grpc-web")
            assert ("-text" in headers["content-type"]) is text
            messages, trailers = frames(decoded(answer) if text else answer)
            assert messages == [message + b"a"]
            assert (trailers["grpc-status"], trailers["x-name"]) == ("0", "a")


def test_streams_of_the_server() -> None:
    with web() as lb:
        messages, trailers = frames(lb.ask(call("many", framed(b"100")))[2])
        assert messages == [b"%d" % number for number in range(100)]
        assert trailers["grpc-status"] == "0"


def test_a_call_that_is_refused_has_its_status_where_the_page_sees_it() -> None:
    with web() as lb:
        _, headers, body = lb.ask(call("refused", framed(b"")))
        found = headers if "grpc-status" in headers else frames(body)[1]
        assert (found["grpc-status"], found["grpc-message"]) == ("9", "not now: %C3%A4")
        if found is headers:
            assert "grpc-status" in headers["access-control-expose-headers"]


@pytest.mark.parametrize("body", [b"!!!!", b"AAAA=", b"AAA", b"A===", b"AA=A"])
def test_text_that_is_none_is_refused(body: bytes) -> None:
    with web() as lb:
        first, _, _ = lb.ask(call("unary", body, "application/grpc-web-text"))
        assert first.split()[1] == "400"


def preflight(lb: Edge, *lines: str) -> dict[str, str]:
    asked = ["OPTIONS /x HTTP/1.1", "Host: a", "Access-Control-Request-Method: POST", *lines, "", ""]
    first, headers, _ = lb.ask("\r\n".join(asked).encode())
    assert first.split()[1] == "200"
    return headers


WANTS = "Access-Control-Request-Headers: content-type, x-grpc-web"


def test_pages_that_may_call() -> None:
    with web() as lb:
        headers = preflight(lb, WANTS, f"Origin: {PAGE}")
        assert headers["access-control-allow-origin"] == PAGE
        assert headers["access-control-allow-headers"] == "Content-Type, X-Grpc-Web"
        assert (headers["access-control-allow-methods"], headers["access-control-max-age"]) == ("POST", "600")
        for lines in ([WANTS], [WANTS, "Origin: https://other.test"], [WANTS + ", a b", f"Origin: {PAGE}"]):
            assert not [name for name in preflight(lb, *lines) if name.startswith("access-control")]
        answer = lb.ask(call("unary", framed(b"")).replace(PAGE.encode(), b"https://other.test"))[1]
        assert "access-control-allow-origin" not in answer
    with web(allowOrigins=["*"]) as lb:
        assert preflight(lb, WANTS, "Origin: https://other.test")["access-control-allow-origin"] == "https://other.test"


def test_other_requests_and_answers_pass_as_they_are() -> None:
    def script(peer: Peer) -> None:
        with contextlib.suppress(EOFError):
            while True:
                first, headers, body = peer.message()
                text = f"{first.split()[0]} {headers.get('content-type')} {body.decode()}".encode()
                head = b"HTTP/1.1 200 X\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
                peer.send(head % len(text) + text)

    with serving(script) as plain, edge(through(plain.url, {"grpcWeb": {"allowOrigins": ["*"]}})) as lb:
        _, headers, body = lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web\r\n\r\n")
        assert (body, "vary" in headers) == (b"GET application/grpc-web ", False)
        _, headers, body = lb.ask(call("x", b"abc", "application/grpc"))
        assert (body, "vary" in headers) == (b"POST application/grpc abc", False)
        _, headers, body = lb.ask(call("x", b"abc"))
        assert (body, headers["content-type"]) == (b"POST application/grpc+proto abc", "text/plain")
