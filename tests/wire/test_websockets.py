"""WebSocket through lbcore, over TLS and over streams of HTTP/2, to a server by the package `websockets`.

The way to the server is HTTP/1.1, or a stream of HTTP/2 to another lbcore in front of it.

The cases are those that implementations of RFC 6455 are tried with: sizes, fragments, control frames, reserved bits and
codes, UTF-8, ends. lbcore forwards bytes: each frame, valid or not, has to reach the server, and its answer the client.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from tests.support.certificates import Files, certificate
from tests.support.http2 import Http2Client, request
from tests.support.tls import trusting
from tests.support.wire import TIMEOUT_S, Edge, config_for, edge

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NORMAL, PROTOCOL_ERROR, BAD_DATA = 1000, 1002, 1007
Message = tuple[int, bytes]


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """A frame of a client, valid or not."""
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    mask_bit, size = (0x80 if masked else 0), len(payload)
    if size < 126:
        head += bytes([mask_bit | size])
    elif size < 65536:
        head += bytes([mask_bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([mask_bit | 127]) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    key = os.urandom(4)
    whole = (key * (size // 4 + 1))[:size]
    hidden = (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(size, "big")
    return head + key + hidden


def closing(code: int | None, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


class Carrier(Protocol):
    """One websocket of a client, as bytes."""

    def send(self, data: bytes) -> None: ...

    def receive(self) -> bytes: ...


class OverTls:
    """After an upgrade of HTTP/1.1."""

    def __init__(self, lb: Edge) -> None:
        self.peer = lb.client()
        self.peer.sock = trusting().wrap_socket(self.peer.sock, server_hostname="a.test")
        key = base64.b64encode(os.urandom(16)).decode()
        head = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        head += f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        self.peer.send(head.encode())
        assert self.peer.head()[0].split()[1] == "101"

    def send(self, data: bytes) -> None:
        self.peer.send(data)

    def receive(self) -> bytes:
        if self.peer.rest:
            data, self.peer.rest = self.peer.rest, b""
            return data
        return self.peer.sock.recv(1 << 18)

    def close(self) -> None:
        self.peer.close()


class OverStream:
    """After an extended CONNECT (RFC 8441), over TLS."""

    def __init__(self, lb: Edge) -> None:
        context = trusting()
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(lb.address, timeout=TIMEOUT_S)
        self.h2 = Http2Client(context.wrap_socket(plain, server_hostname="a.test"))
        self.stream = self.h2.open()
        more = [(":protocol", "websocket"), ("sec-websocket-version", "13")]
        fields = [*request("CONNECT", "/chat", (":scheme", "https")), *more]
        self.h2.headers(self.stream, fields, end=False)
        self.answer = self.h2.head_of(self.stream)
        assert self.answer.status == 200

    def send(self, data: bytes) -> None:
        self.h2.upload(self.stream, data, end=False)

    def receive(self) -> bytes:
        with contextlib.suppress(EOFError, ConnectionError):
            self.h2.until(lambda: self.answer.body or self.answer.ended or self.answer.reset is not None)
        data, self.answer.body = self.answer.body, b""
        return data

    def close(self) -> None:
        self.h2.close()


# How the client gets to lbcore, and whether lbcore gets to the server by HTTP/2.
CARRIERS = {
    "over TLS": (OverTls, False),
    "over a stream": (OverStream, False),
    "over TLS, then a stream": (OverTls, True),
    "over two streams": (OverStream, True),
}


def frames_of(carrier: Carrier) -> Iterator[Message]:
    """Frames of the server, to the end."""
    rest = b""

    def exactly(count: int) -> bytes:
        nonlocal rest
        while len(rest) < count:
            piece = carrier.receive()
            if not piece:
                raise EOFError
            rest += piece
        taken, rest = rest[:count], rest[count:]
        return taken

    with contextlib.suppress(EOFError, ConnectionError, ssl.SSLError):
        while True:
            first, size = exactly(2)
            assert first & 0x80, "the server sends whole messages"
            if size == 126:
                size = int.from_bytes(exactly(2), "big")
            elif size == 127:
                size = int.from_bytes(exactly(8), "big")
            yield first & 0x0F, exactly(size)


def echo(connection: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        for message in connection:
            connection.send(message)


def encrypted(url: str, files: Files) -> dict[str, Any]:
    """Clients come over TLS, to a server with that URL."""
    dynamic = config_for(url)
    dynamic["http"]["routers"]["all"]["tls"] = {}
    return {**dynamic, "tls": {"certificates": [files.entry]}}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certificate(tmp_path_factory.mktemp("certificates"), "a", "a.test")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of the server."""
    with serve(echo, "127.0.0.1", 0, max_size=None, ping_interval=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(TIMEOUT_S)


@pytest.fixture(scope="module")
def lb(url: str, files: Files) -> Iterator[Edge]:
    with edge(encrypted(url, files)) as found:
        yield found


@pytest.fixture(scope="module")
def in_front(url: str, files: Files) -> Iterator[Edge]:
    """In front of another one, by HTTP/2."""
    with edge(config_for(url)) as second:
        host, port = second.address
        with edge(encrypted(f"h2c://{host}:{port}", files)) as found:
            yield found


# What is sent first, the messages that come back, the code of the end; LAST: what is sent then, if it is no normal end.
Case = tuple[bytes, list[Message], int]
LAST: dict[str, bytes] = {}


def pieces(opcode: int, *parts: bytes, between: bytes = b"") -> bytes:
    """A message in fragments."""
    sent = b""
    for number, part in enumerate(parts):
        sent += frame(CONTINUATION if number else opcode, part, fin=number == len(parts) - 1)
        if number < len(parts) - 1:
            sent += between
    return sent


UTF8 = "κόσμε \U0010ffff Hello-µ@ßöäüàá-UTF-8!!".encode()
INVALID = (
    b"\xce\xba\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\x80",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xed\xbf\xbf",
    b"\xff",
    b"\xf8\x88\x80\x80\x80",
)
CASES: dict[str, Case] = {}
for size in (0, 125, 126, 127, 128, 65535, 65536):
    CASES[f"1.1 text of {size}"] = frame(TEXT, b"*" * size), [(TEXT, b"*" * size)], NORMAL
    CASES[f"1.2 binary of {size}"] = frame(BINARY, b"\xfe" * size), [(BINARY, b"\xfe" * size)], NORMAL
PAYLOADS = {"nothing": b"", "text": b"Hello!", "bytes": b"\0\xff\xfe\xfd\xfc\xfb\0\xff", "125": b"\xfe" * 125}
for name, payload in PAYLOADS.items():
    CASES[f"2 ping with {name}"] = frame(PING, payload), [(PONG, payload)], NORMAL
CASES |= {
    "2 ping that is too long": (frame(PING, b"\xfe" * 126), [], PROTOCOL_ERROR),
    "2 a pong that nobody asked for": (frame(PONG, b"x") + frame(PING, b"y"), [(PONG, b"y")], NORMAL),
    "2 ten pings": (frame(PING, b"x") * 10, [(PONG, b"x")] * 10, NORMAL),
}
for bits in range(1, 8):
    CASES[f"3 reserved bits {bits}"] = frame(TEXT, b"x"), [(TEXT, b"x")], PROTOCOL_ERROR
    LAST[f"3 reserved bits {bits}"] = frame(TEXT, b"y", reserved=bits)
for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    CASES[f"4 opcode {opcode}"] = frame(TEXT, b"x"), [(TEXT, b"x")], PROTOCOL_ERROR
    LAST[f"4 opcode {opcode}"] = frame(opcode, b"y")
CASES |= {
    "5 a ping in fragments": (frame(PING, b"a", fin=False) + frame(CONTINUATION, b"b"), [], PROTOCOL_ERROR),
    "5 a pong in fragments": (frame(PONG, b"a", fin=False) + frame(CONTINUATION, b"b"), [], PROTOCOL_ERROR),
    "5 text in two fragments": (pieces(TEXT, b"one", b"two"), [(TEXT, b"onetwo")], NORMAL),
    "5 binary in three, one empty": (pieces(BINARY, b"a", b"", b"c"), [(BINARY, b"ac")], NORMAL),
    "5 empty fragments": (pieces(TEXT, b"", b"", b""), [(TEXT, b"")], NORMAL),
    "5 a ping between fragments": (
        pieces(TEXT, b"one", b"two", between=frame(PING, b"p")),
        [(PONG, b"p"), (TEXT, b"onetwo")],
        NORMAL,
    ),
    "5 a continuation of nothing": (frame(CONTINUATION, b"x"), [], PROTOCOL_ERROR),
    "5 a continuation of nothing, not the last": (frame(CONTINUATION, b"x", fin=False), [], PROTOCOL_ERROR),
    "5 a message inside of another": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), [], PROTOCOL_ERROR),
    "5 a thousand fragments": (pieces(BINARY, *[b"xy"] * 1000), [(BINARY, b"xy" * 1000)], NORMAL),
    "5 a frame without a mask": (frame(TEXT, b"x", masked=False), [], PROTOCOL_ERROR),
    "6 text in UTF-8": (frame(TEXT, UTF8), [(TEXT, UTF8)], NORMAL),
    "6 characters over fragments": (pieces(TEXT, *(UTF8[i : i + 1] for i in range(len(UTF8)))), [(TEXT, UTF8)], NORMAL),
}
for text in INVALID:
    CASES[f"6 {text.hex()} is no UTF-8"] = frame(TEXT, b"Hello" + text + b"edited"), [], BAD_DATA
CASES["6 a character without its end"] = frame(TEXT, b"\xce"), [], BAD_DATA
for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
    CASES[f"7 an end with {code}"] = closing(code, b"bye"), [], code
for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535):
    CASES[f"7 an end with {code}, which means nothing"] = closing(code), [], PROTOCOL_ERROR
CASES |= {
    "7 a message behind the end": (closing(NORMAL) + frame(TEXT, b"x"), [], NORMAL),
    "7 a ping behind the end": (closing(NORMAL) + frame(PING, b"x"), [], NORMAL),
    "7 half a message, and the end": (frame(TEXT, b"x", fin=False) + closing(NORMAL), [], PROTOCOL_ERROR),
    "7 an end of one byte": (frame(CLOSE, b"\x03"), [], PROTOCOL_ERROR),
    "7 an end with a reason of 123": (closing(NORMAL, b"r" * 123), [], NORMAL),
    "7 an end with a reason that is too long": (closing(NORMAL, b"r" * 124), [], PROTOCOL_ERROR),
    "7 an end with a reason that is no UTF-8": (closing(NORMAL, b"\xff"), [], BAD_DATA),
    "9 text of 1 MiB": (frame(TEXT, b"*" * (1 << 20)), [(TEXT, b"*" * (1 << 20))], NORMAL),
    "9 binary of 4 MiB": (frame(BINARY, b"\xfe" * (4 << 20)), [(BINARY, b"\xfe" * (4 << 20))], NORMAL),
    "9 binary of 1 MiB in fragments": (pieces(BINARY, *[b"-" * 65536] * 16), [(BINARY, b"-" * (1 << 20))], NORMAL),
}


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("case", CASES)
def test_frames_reach_the_server_and_its_answers_the_client(lb: Edge, in_front: Edge, case: str, carrier: str) -> None:
    sent, expected, code = CASES[case]
    kind, by_http2 = CARRIERS[carrier]
    socket_of = kind(in_front if by_http2 else lb)
    with contextlib.closing(socket_of):
        frames = frames_of(socket_of)
        with contextlib.suppress(OSError, EOFError):
            socket_of.send(sent)
        assert [next(frames) for _ in expected] == expected
        with contextlib.suppress(OSError, EOFError):
            if not case.startswith("7"):
                socket_of.send(LAST.get(case, closing(NORMAL) if code == NORMAL else b""))
        ((opcode, payload),) = frames
    assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, code)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_frames_byte_by_byte(lb: Edge, in_front: Edge, carrier: str) -> None:
    kind, by_http2 = CARRIERS[carrier]
    socket_of = kind(in_front if by_http2 else lb)
    with contextlib.closing(socket_of):
        frames = frames_of(socket_of)
        for data, answer in ((frame(TEXT, b"Hello"), TEXT), (closing(NORMAL), CLOSE)):
            for byte in data:
                socket_of.send(bytes([byte]))
            assert next(frames)[0] == answer


@pytest.mark.parametrize("by_http2", [False, True])
def test_a_client_of_the_package_with_compression(lb: Edge, in_front: Edge, by_http2: bool) -> None:
    host, port = (in_front if by_http2 else lb).address
    sock = socket.create_connection((host, port))
    with connect(f"wss://a.test:{port}/chat", sock=sock, ssl=trusting(), open_timeout=TIMEOUT_S) as client:
        assert [each.name for each in client.protocol.extensions] == ["permessage-deflate"]
        for message in ("", "text", "x" * 100000, b"", os.urandom(100000), ["in", "frag", "ments"]):
            client.send(message)
            assert client.recv(TIMEOUT_S) == ("".join(message) if isinstance(message, list) else message)
        client.ping(b"p").wait(TIMEOUT_S)
    assert client.close_code == NORMAL


@pytest.mark.parametrize("by_http2", [False, True])
def test_many_websockets_share_a_connection(lb: Edge, in_front: Edge, by_http2: bool) -> None:
    first = OverStream(in_front if by_http2 else lb)
    with contextlib.closing(first):
        streams = [first]
        for _ in range(9):
            other = OverStream.__new__(OverStream)
            other.h2, other.stream = first.h2, first.h2.open()
            more = [(":protocol", "websocket"), ("sec-websocket-version", "13")]
            other.h2.headers(other.stream, [*request("CONNECT", "/chat", (":scheme", "https")), *more], end=False)
            other.answer = other.h2.head_of(other.stream)
            streams.append(other)
        for number, stream in enumerate(streams):
            stream.send(frame(TEXT, b"%d" % number))
        for number, stream in enumerate(streams):
            assert next(frames_of(stream)) == (TEXT, b"%d" % number)
        for stream in streams:
            stream.send(closing(NORMAL))
            assert next(frames_of(stream))[0] == CLOSE


@pytest.mark.parametrize("carrier", CARRIERS)
def test_the_end_of_a_connection_ends_its_websockets(files: Files, carrier: str) -> None:
    ended = threading.Event()

    def until_the_end(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            connection.recv()
        ended.set()

    with serve(until_the_end, "127.0.0.1", 0, ping_interval=None) as server, contextlib.ExitStack() as stack:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            kind, by_http2 = CARRIERS[carrier]
            url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
            if by_http2:
                host, port = stack.enter_context(edge(config_for(url))).address
                url = f"h2c://{host}:{port}"
            kind(stack.enter_context(edge(encrypted(url, files)))).close()
            assert ended.wait(TIMEOUT_S)
        finally:
            server.shutdown()
            thread.join(TIMEOUT_S)
