"""What RFC 9113 and RFC 7541 demand of a server, one case for each demand, on a connection of its own.

Three tables: what ends the connection (and the code of its GOAWAY), what ends one stream (which may be treated as an
error of the connection, section 5.4.2), and what has to be borne or answered. The names begin with the section.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hyperframe.frame import GoAwayFrame, SettingsFrame

from tests.support.certificates import certificate
from tests.support.http2 import PREFACE, Answer, Http2Client, raw_frame, request
from tests.support.wire import TIMEOUT_S, Edge, Peer, config_for, deaf, edge, serving

PROTOCOL, FLOW_CONTROL, STREAM_CLOSED, FRAME_SIZE, REFUSED, COMPRESSION = 1, 3, 5, 6, 7, 9
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 0x10
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITISED = 0x1, 0x1, 0x4, 0x8, 0x20
LARGEST_WINDOW = 2**31 - 1
STREAMS = 8  # open at a time, as configured here


def answer_with_its_body(peer: Peer) -> None:
    """What a request was, and its body; requests for `/wait` get no answer."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            first, _, body = peer.message()
            if "/wait" in first:
                peer.to_the_end()
                return
            sent = b"" if first.startswith("HEAD") else first.encode() + b"\n" + body
            length = len(first) + 1 + len(body)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-A: b\r\n\r\n%s" % (length, sent))


@pytest.fixture(scope="module")
def lb() -> Iterator[Edge]:
    limit = {"maxConcurrentStreams": STREAMS}
    with serving(answer_with_its_body) as server, deaf() as port:
        dynamic = config_for(server.url)
        # Of requests to this one no body is taken.
        dynamic["http"]["routers"]["deaf"] = {"rule": "PathPrefix(`/deaf`)", "service": "deaf"}
        dynamic["http"]["services"]["deaf"] = {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{port}"}]}}
        with edge(dynamic, http2=limit) as found:
            yield found


@contextlib.contextmanager
def client(lb: Edge, window: int = 65535, settings: dict[int, int] | None = None) -> Iterator[Http2Client]:
    """A client that has exchanged settings, so that limits are in force."""
    found = Http2Client(socket.create_connection(lb.address, timeout=TIMEOUT_S), window=window, settings=settings)
    try:
        found.until(lambda: found.settings)
        found.ping()
        yield found
    finally:
        found.close()


Send = Callable[[Http2Client], int]


def raw(kind: int, flags: int, stream: int, body: bytes = b"") -> Send:
    """One frame on a stream that is idle, or on the connection."""

    def send(h2: Http2Client) -> int:
        h2.raw(raw_frame(kind, flags, stream, body))
        return stream

    return send


def open_then(kind: int, flags: int, body: bytes = b"", *, method: str = "POST", stream: int | None = None) -> Send:
    """A frame on a stream whose request is not complete (or on `stream`)."""

    def send(h2: Http2Client) -> int:
        own = h2.open()
        h2.headers(own, request(method), end=False)
        h2.raw(raw_frame(kind, flags, own if stream is None else stream, body))
        return own

    return send


def half_closed_then(kind: int, flags: int, body: bytes | None = b"") -> Send:
    """A frame on a stream whose request is complete, and whose answer is not. No body: the block of a request."""

    def send(h2: Http2Client) -> int:
        own = h2.send("GET", "/wait")
        h2.raw(raw_frame(kind, flags, own, h2.block(request()) if body is None else body))
        return own

    return send


def closed_then(kind: int, flags: int, body: bytes | None = b"", *, reset: bool = False) -> Send:
    """A frame on a stream that has ended: on both sides, or because the client has reset it."""

    def send(h2: Http2Client) -> int:
        if reset:
            own = h2.send("GET", "/wait")
            h2.reset(own)
        else:
            own = h2.send()
            h2.answer(own)
        h2.ping()
        h2.raw(raw_frame(kind, flags, own, h2.block(request()) if body is None else body))
        return own

    return send


def section_then(kind: int, stream: int | None, body: bytes = b"") -> Send:
    """A frame where only a CONTINUATION may come."""

    def send(h2: Http2Client) -> int:
        own = h2.open()
        block = h2.block(request())
        h2.raw(raw_frame(HEADERS, END_STREAM, own, block[:4]))
        h2.raw(raw_frame(kind, 0, own if stream is None else stream, body))
        h2.raw(raw_frame(CONTINUATION, END_HEADERS, own, block[4:]))
        return own

    return send


def block_of(block: bytes, *, whole: bool = True) -> Send:
    """A request, and behind it in its field section what a decoder has to refuse."""

    def send(h2: Http2Client) -> int:
        own = h2.open()
        h2.raw(raw_frame(HEADERS, END_STREAM | END_HEADERS, own, (h2.block(request()) if whole else b"") + block))
        return own

    return send


def fields(*found: tuple[str, str], length: int | None = None, bodies: tuple[bytes, ...] = ()) -> Send:
    def send(h2: Http2Client) -> int:
        own = h2.open()
        more = [("content-length", str(length))] if length is not None else []
        h2.headers(own, [*found, *more], end=not bodies)
        for number, body in enumerate(bodies, 1):
            h2.data(own, body, end=number == len(bodies))
        return own

    return send


def two(first: Send, second: Send) -> Send:
    def send(h2: Http2Client) -> int:
        first(h2)
        return second(h2)

    return send


def reused(h2: Http2Client) -> int:
    """A stream with a lower number than one that was opened."""
    h2.next_id = 9
    h2.answer(h2.send())
    h2.headers(5, request())
    return 5


def again(h2: Http2Client) -> int:
    """A stream that is open is opened once more."""
    own = h2.send("GET", "/wait")
    h2.headers(own, request())
    return own


def too_many(h2: Http2Client) -> int:
    return [h2.send("GET", "/wait") for _ in range(STREAMS + 1)][-1]


def full_window(stream: int) -> Send:
    """More credit than a window can have."""

    def send(h2: Http2Client) -> int:
        own = h2.send("GET", "/wait")
        frame = raw_frame(WINDOW_UPDATE, 0, own if stream else 0, LARGEST_WINDOW.to_bytes(4, "big"))
        h2.raw(frame + frame)
        return own

    return send


def settings(number: int, value: int) -> Send:
    return raw(SETTINGS, 0, 0, number.to_bytes(2, "big") + value.to_bytes(4, "big"))


def window_of_a_stream_by_settings(h2: Http2Client) -> int:
    own = h2.send("GET", "/wait")
    h2.raw(raw_frame(WINDOW_UPDATE, 0, own, (LARGEST_WINDOW - 65535).to_bytes(4, "big")))
    h2.frame(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65536}))
    return own


def own_priority(h2: Http2Client) -> int:
    own = h2.open()
    body = own.to_bytes(4, "big") + b"\x10" + h2.block(request("GET", "/wait"))
    h2.raw(raw_frame(HEADERS, END_STREAM | END_HEADERS | PRIORITISED, own, body))
    return own


def trailers(*found: tuple[str, str], end: bool = True) -> Send:
    def send(h2: Http2Client) -> int:
        own = h2.open()
        h2.headers(own, request("POST"), end=False)
        h2.data(own, b"body")
        h2.headers(own, found, end=end)
        return own

    return send


def length_then_trailers(h2: Http2Client) -> int:
    own = h2.open()
    h2.headers(own, [*POST, ("content-length", "9")], end=False)
    h2.data(own, b"body")
    h2.headers(own, [("x-test", "ok")])
    return own


def beyond_the_window(of_connection: bool) -> Send:
    """More bytes than lbcore has given credit for, to a server that takes none."""

    def send(h2: Http2Client) -> int:
        first = h2.open()
        h2.headers(first, request("POST", "/deaf", ("content-length", "9999999")), end=False)
        streams = [first]
        while of_connection and len(streams) < STREAMS:
            streams.append(h2.open())
            h2.headers(streams[-1], request("POST", "/deaf", ("content-length", "9999999")), end=False)
        piece = bytes(16384)
        with contextlib.suppress(OSError):
            for number in range(128):
                h2.data(streams[number % len(streams)], piece)
        return first

    return send


CODED = b"\x00\x85\xf2\xb2\x4a\x84\xff"  # a literal whose name is in the Huffman code; its value follows
CREDIT = (1000).to_bytes(4, "big")
POST = request("POST")

ENDS_THE_CONNECTION: dict[str, tuple[Send, tuple[int, ...]]] = {
    "4.2 DATA larger than SETTINGS_MAX_FRAME_SIZE": (open_then(DATA, 0, bytes(16385)), (FRAME_SIZE,)),
    "4.2 HEADERS larger than SETTINGS_MAX_FRAME_SIZE": (
        raw(HEADERS, END_STREAM | END_HEADERS, 1, bytes(16385)),
        (FRAME_SIZE,),
    ),
    "4.2 SETTINGS larger than SETTINGS_MAX_FRAME_SIZE": (raw(SETTINGS, 0, 0, bytes(16386)), (FRAME_SIZE,)),
    "4.2 an unknown frame larger than SETTINGS_MAX_FRAME_SIZE": (raw(0x70, 0, 0, bytes(16385)), (FRAME_SIZE,)),
    "4.3 a field section that cannot be decoded": (block_of(b"\x00\xff\xff\xff\xff\xff\x0f"), (COMPRESSION,)),
    "4.3 PRIORITY inside of a field section": (section_then(PRIORITY, None, bytes(5)), (PROTOCOL,)),
    "4.3 HEADERS of another stream inside of a field section": (section_then(HEADERS, 3), (PROTOCOL,)),
    "4.3 an unknown frame inside of a field section": (section_then(0x70, None), (PROTOCOL,)),
    "4.3 DATA inside of a field section": (section_then(DATA, None, b"x"), (PROTOCOL,)),
    "5.1 DATA on an idle stream": (raw(DATA, 0, 1, b"x"), (PROTOCOL, STREAM_CLOSED)),
    "5.1 RST_STREAM on an idle stream": (raw(RST_STREAM, 0, 1, bytes(4)), (PROTOCOL,)),
    "5.1 WINDOW_UPDATE on an idle stream": (raw(WINDOW_UPDATE, 0, 1, CREDIT), (PROTOCOL,)),
    "5.1 CONTINUATION on an idle stream": (raw(CONTINUATION, END_HEADERS, 1), (PROTOCOL,)),
    "5.1 CONTINUATION on a half-closed stream": (half_closed_then(CONTINUATION, END_HEADERS, None), (PROTOCOL,)),
    "5.1 CONTINUATION on a closed stream": (closed_then(CONTINUATION, END_HEADERS, None), (PROTOCOL, STREAM_CLOSED)),
    "5.1 CONTINUATION on a stream that the client has reset": (
        closed_then(CONTINUATION, END_HEADERS, None, reset=True),
        (PROTOCOL, STREAM_CLOSED),
    ),
    "5.1 HEADERS on a closed stream": (closed_then(HEADERS, END_STREAM | END_HEADERS, None), (STREAM_CLOSED,)),
    "5.1 DATA on a closed stream": (closed_then(DATA, END_STREAM, b"x"), (STREAM_CLOSED,)),
    "5.1.1 a stream with an even number": (raw(HEADERS, END_STREAM | END_HEADERS, 2, b"\x82\x84\x86"), (PROTOCOL,)),
    "5.1.1 a stream with a lower number than one before": (reused, (PROTOCOL, STREAM_CLOSED)),
    "5.1.1 HEADERS on a stream that is half-closed": (again, (PROTOCOL, STREAM_CLOSED)),
    "6.1 DATA on stream 0": (raw(DATA, 0, 0, b"x"), (PROTOCOL,)),
    "6.1 DATA with padding of the frame's length": (open_then(DATA, PADDED | END_STREAM, b"\x05test"), (PROTOCOL,)),
    "6.1 DATA with padding, and no room for its length": (open_then(DATA, PADDED), (PROTOCOL, FRAME_SIZE)),
    "6.2 HEADERS on stream 0": (raw(HEADERS, END_STREAM | END_HEADERS, 0, b"\x82\x84\x86"), (PROTOCOL,)),
    "6.2 HEADERS with padding of the frame's length": (
        raw(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\x04\x82\x84\x86"),
        (PROTOCOL,),
    ),
    "6.2 HEADERS with more padding than the frame has": (
        raw(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\xff\x82\x84\x86"),
        (PROTOCOL,),
    ),
    "6.2 HEADERS with a priority, and no room for it": (
        raw(HEADERS, END_STREAM | END_HEADERS | PRIORITISED, 1, b"\0\0"),
        (PROTOCOL, FRAME_SIZE),
    ),
    "6.3 PRIORITY on stream 0": (raw(PRIORITY, 0, 0, bytes(5)), (PROTOCOL,)),
    "6.4 RST_STREAM on stream 0": (raw(RST_STREAM, 0, 0, bytes(4)), (PROTOCOL,)),
    "6.4 RST_STREAM that is too short": (open_then(RST_STREAM, 0, bytes(3)), (FRAME_SIZE,)),
    "6.4 RST_STREAM that is too long": (open_then(RST_STREAM, 0, bytes(5)), (FRAME_SIZE,)),
    "6.5 SETTINGS with ACK and a body": (raw(SETTINGS, ACK, 0, bytes(6)), (FRAME_SIZE,)),
    "6.5 SETTINGS on a stream": (raw(SETTINGS, 0, 1, bytes(6)), (PROTOCOL,)),
    "6.5 SETTINGS on a stream that is open": (open_then(SETTINGS, 0), (PROTOCOL,)),
    "6.5 SETTINGS with half an entry": (raw(SETTINGS, 0, 0, bytes(3)), (FRAME_SIZE,)),
    "6.5.2 SETTINGS_ENABLE_PUSH of 2": (settings(2, 2), (PROTOCOL,)),
    "6.5.2 SETTINGS_INITIAL_WINDOW_SIZE above its limit": (settings(4, 2**31), (FLOW_CONTROL,)),
    "6.5.2 SETTINGS_MAX_FRAME_SIZE below its limit": (settings(5, 16383), (PROTOCOL,)),
    "6.5.2 SETTINGS_MAX_FRAME_SIZE above its limit": (settings(5, 2**24), (PROTOCOL,)),
    "8441 3 SETTINGS_ENABLE_CONNECT_PROTOCOL of 2": (settings(8, 2), (PROTOCOL,)),
    "9218 2.1 SETTINGS_NO_RFC7540_PRIORITIES of 2": (settings(9, 2), (PROTOCOL,)),
    "9218 7.1 PRIORITY_UPDATE on a stream": (open_then(PRIORITY_UPDATE, 0, b"\0\0\0\1u=1"), (PROTOCOL,)),
    "9218 7.1 PRIORITY_UPDATE of stream 0": (raw(PRIORITY_UPDATE, 0, 0, b"\0\0\0\0u=1"), (PROTOCOL,)),
    "9218 7.1 PRIORITY_UPDATE that is too short": (raw(PRIORITY_UPDATE, 0, 0, bytes(3)), (FRAME_SIZE,)),
    "6.6 PUSH_PROMISE": (open_then(PUSH_PROMISE, END_HEADERS, b"\0\0\0\2\x82\x84\x86"), (PROTOCOL,)),
    "6.6 PUSH_PROMISE on stream 0": (raw(PUSH_PROMISE, END_HEADERS, 0, b"\0\0\0\2\x82\x84\x86"), (PROTOCOL,)),
    "6.7 PING on a stream": (raw(PING, 0, 1, bytes(8)), (PROTOCOL,)),
    "6.7 PING that is too short": (raw(PING, 0, 0, bytes(7)), (FRAME_SIZE,)),
    "6.7 PING that is too long": (raw(PING, 0, 0, bytes(9)), (FRAME_SIZE,)),
    "6.8 GOAWAY on a stream": (raw(GOAWAY, 0, 1, bytes(8)), (PROTOCOL,)),
    "6.8 GOAWAY that is too short": (raw(GOAWAY, 0, 0, bytes(7)), (FRAME_SIZE,)),
    "6.9 WINDOW_UPDATE of 0 on the connection": (raw(WINDOW_UPDATE, 0, 0, bytes(4)), (PROTOCOL,)),
    "6.9 WINDOW_UPDATE that is too short": (raw(WINDOW_UPDATE, 0, 0, bytes(3)), (FRAME_SIZE,)),
    "6.9 WINDOW_UPDATE that is too long": (raw(WINDOW_UPDATE, 0, 0, bytes(5)), (FRAME_SIZE,)),
    "6.9.1 more credit for the connection than a window can have": (full_window(0), (FLOW_CONTROL,)),
    "6.9.1 more bytes than the window of the connection": (beyond_the_window(True), (FLOW_CONTROL,)),
    "6.9.2 a window of a stream that overflows by SETTINGS": (window_of_a_stream_by_settings, (FLOW_CONTROL,)),
    "6.10 CONTINUATION on stream 0": (section_then(CONTINUATION, 0), (PROTOCOL,)),
    "6.10 CONTINUATION of another stream": (section_then(CONTINUATION, 3), (PROTOCOL,)),
    "6.10 CONTINUATION behind a whole section": (
        two(lambda h2: h2.send("GET", "/wait"), raw(CONTINUATION, END_HEADERS, 1)),
        (PROTOCOL,),
    ),
    "6.10 CONTINUATION behind a whole section in pieces": (
        two(lambda h2: h2.answer(in_pieces(1)(h2)), raw(CONTINUATION, END_HEADERS, 1)),
        (PROTOCOL, STREAM_CLOSED),
    ),
    "6.10 HEADERS of the same stream inside of a field section": (section_then(HEADERS, None), (PROTOCOL,)),
    "6.10 PING inside of a field section": (section_then(PING, 0, bytes(8)), (PROTOCOL,)),
    "6.10 SETTINGS inside of a field section": (section_then(SETTINGS, 0), (PROTOCOL,)),
    "6.10 CONTINUATION behind DATA": (
        two(lambda h2: open_then(DATA, 0, b"x")(h2), raw(CONTINUATION, END_HEADERS, 1)),
        (PROTOCOL,),
    ),
    "7541 2.3.3 an index behind the end of the tables": (block_of(b"\xff\x0a"), (COMPRESSION,)),
    "7541 2.3.3 a name by an index behind the end of the tables": (block_of(b"\x7f\x0a\x01x"), (COMPRESSION,)),
    "7541 4.2 a change of the table's size at the end of a section": (block_of(b"\x3f\x01"), (COMPRESSION,)),
    "7541 4.2 a change of the table's size between fields": (block_of(b"\x3f\x01\x88"), (COMPRESSION,)),
    "7541 2.3.3 an index of a table that is empty": (block_of(b"\xbe", whole=False), (COMPRESSION,)),
    "7541 5.1 an integer without an end": (block_of(b"\xff" + b"\x80" * 20), (COMPRESSION,)),
    "7541 5.2 a text that is longer than the section": (block_of(b"\x40\x01x\x7f\x7f"), (COMPRESSION,)),
    "7541 5.2 padding of more than seven bits": (block_of(CODED + b"\x84\x49\x50\x9f\xff"), (COMPRESSION,)),
    "7541 5.2 padding of zeros": (block_of(CODED + b"\x83\x49\x50\x90"), (COMPRESSION,)),
    "7541 5.2 EOS inside of a text": (block_of(CODED + b"\x87\x49\x51\xff\xff\xff\xfa\x7f"), (COMPRESSION,)),
    "7541 6.1 the index 0": (block_of(b"\x80"), (COMPRESSION,)),
    "7541 6.3 a table larger than SETTINGS_HEADER_TABLE_SIZE": (
        block_of(b"\x3f\xe2\xff\x7f\x82\x84\x86", whole=False),
        (COMPRESSION,),
    ),
}

ENDS_THE_STREAM: dict[str, tuple[Send, tuple[int, ...]]] = {
    "5.1 DATA on a half-closed stream": (half_closed_then(DATA, END_STREAM, b"x"), (STREAM_CLOSED,)),
    "5.1 DATA on a stream that the client has reset": (
        closed_then(DATA, END_STREAM, b"x", reset=True),
        (STREAM_CLOSED,),
    ),
    "5.1 HEADERS on a stream that the client has reset": (
        closed_then(HEADERS, END_STREAM | END_HEADERS, None, reset=True),
        (STREAM_CLOSED,),
    ),
    "5.1.2 more streams than SETTINGS_MAX_CONCURRENT_STREAMS": (too_many, (PROTOCOL, REFUSED)),
    "5.1.2 a body of a length that is not the announced one": (
        fields(*POST, length=1, bodies=(b"test",)),
        (PROTOCOL,),
    ),
    "7540 5.3.1 HEADERS with a priority on itself": (own_priority, (PROTOCOL,)),
    "7540 5.3.1 PRIORITY on itself": (open_then(PRIORITY, 0, b"\0\0\0\x01\x10"), (PROTOCOL,)),
    "6.3 PRIORITY that is too short": (open_then(PRIORITY, 0, bytes(4)), (FRAME_SIZE,)),
    "6.3 PRIORITY that is too long": (open_then(PRIORITY, 0, bytes(6)), (FRAME_SIZE,)),
    "6.9 WINDOW_UPDATE of 0 on a stream": (open_then(WINDOW_UPDATE, 0, bytes(4)), (PROTOCOL,)),
    "6.9.1 more credit for a stream than a window can have": (full_window(1), (FLOW_CONTROL,)),
    "6.9.1 more bytes than the window of the stream": (beyond_the_window(False), (FLOW_CONTROL,)),
    "8.1 a second HEADERS that does not end the stream": (trailers(("x-test", "ok"), end=False), (PROTOCOL,)),
    "8.1 a request without its pseudo-headers": (fields(("x-test", "ok")), (PROTOCOL,)),
    "8.1.1 several DATA of a length that is not the announced one": (
        fields(*POST, length=1, bodies=(b"te", b"st")),
        (PROTOCOL,),
    ),
    "8.1.1 less than the announced length": (fields(*POST, length=9, bodies=(b"te", b"st")), (PROTOCOL,)),
    "8.1.1 the announced length and no body": (fields(*POST, length=9), (PROTOCOL,)),
    "8.1.1 an announced length that is no number": (fields(*POST, ("content-length", "4x")), (PROTOCOL,)),
    "8.1.1 an announced length below 0": (fields(*POST, ("content-length", "-4")), (PROTOCOL,)),
    "8.1.1 an empty announced length": (fields(*POST, ("content-length", "")), (PROTOCOL,)),
    "8.1.1 an announced length beyond 64 bits": (fields(*POST, ("content-length", "1" + "0" * 20)), (PROTOCOL,)),
    "8.1.1 two announced lengths": (
        fields(*POST, ("content-length", "4"), ("content-length", "5"), bodies=(b"test",)),
        (PROTOCOL,),
    ),
    "8.1.1 a list of announced lengths": (fields(*POST, ("content-length", "4, 4"), bodies=(b"test",)), (PROTOCOL,)),
    "8.1.1 trailers before the announced length": (
        lambda h2: length_then_trailers(h2),
        (PROTOCOL,),
    ),
    "8.2.1 an empty name": (fields(*request(), ("", "ok")), (PROTOCOL,)),
    "8.2.1 a name in trailers in upper case": (trailers(("X-Test", "ok")), (PROTOCOL,)),
    "8.2.1 a value in trailers with a line feed": (trailers(("x-test", "a\nb")), (PROTOCOL,)),
    "8.2.2 a field of the connection in trailers": (trailers(("transfer-encoding", "chunked")), (PROTOCOL,)),
    "8.2.1 a name in upper case": (fields(*request(), ("X-Test", "ok")), (PROTOCOL,)),
    "8.2.1 a name with a space": (fields(*request(), ("x test", "ok")), (PROTOCOL,)),
    "8.2.1 a name with a control character": (fields(*request(), ("x\x7f", "ok")), (PROTOCOL,)),
    "8.2.1 a name with a byte above 0x7f": (fields(*request(), ("x\xe4", "ok")), (PROTOCOL,)),
    "8.2.1 a name with a colon inside": (fields(*request(), ("x:y", "ok")), (PROTOCOL,)),
    "8.2.1 a value with NUL": (fields(*request(), ("x", "a\0")), (PROTOCOL,)),
    "8.2.1 a value with a line feed": (fields(*request(), ("x", "a\nb")), (PROTOCOL,)),
    "8.2.1 a value with a carriage return": (fields(*request(), ("x", "a\rb")), (PROTOCOL,)),
    "8.2.1 a value that begins with a space": (fields(*request(), ("x", " a")), (PROTOCOL,)),
    "8.2.1 a value that ends with a tab": (fields(*request(), ("x", "a\t")), (PROTOCOL,)),
    "8.2.2 connection": (fields(*request(), ("connection", "keep-alive")), (PROTOCOL,)),
    "8.2.2 keep-alive": (fields(*request(), ("keep-alive", "1")), (PROTOCOL,)),
    "8.2.2 proxy-connection": (fields(*request(), ("proxy-connection", "x")), (PROTOCOL,)),
    "8.2.2 transfer-encoding": (fields(*POST, ("transfer-encoding", "chunked")), (PROTOCOL,)),
    "8.2.2 upgrade": (fields(*request(), ("upgrade", "h2c")), (PROTOCOL,)),
    "8.2.2 TE with more than trailers": (fields(*request(), ("te", "trailers, deflate")), (PROTOCOL,)),
    "8.3 an unknown pseudo-header": (fields(*request(), (":test", "ok")), (PROTOCOL,)),
    "8.3 a pseudo-header of answers": (fields(*request(), (":status", "200")), (PROTOCOL,)),
    "8.3 a pseudo-header in trailers": (trailers((":method", "200")), (PROTOCOL,)),
    "8.3 a pseudo-header behind a field": (fields(*request()[:3], ("x-test", "ok"), request()[3]), (PROTOCOL,)),
    "8.3.1 an empty :path": (fields(*request("GET", "")), (PROTOCOL,)),
    "8.3.1 no :method": (fields(*request()[1:]), (PROTOCOL,)),
    "8.3.1 no :scheme": (fields(request()[0], *request()[2:]), (PROTOCOL,)),
    "8.3.1 no :path": (fields(*request()[:2], request()[3]), (PROTOCOL,)),
    "8.3.1 two :method": (fields((":method", "GET"), *request()), (PROTOCOL,)),
    "8.3.1 two :scheme": (fields((":scheme", "http"), *request()), (PROTOCOL,)),
    "8.3.1 two :path": (fields((":path", "/"), *request()), (PROTOCOL,)),
    "8.3.1 two :authority": (fields((":authority", "a.test"), *request()), (PROTOCOL,)),
    "8.5 CONNECT with :path": (fields(*request("CONNECT")), (PROTOCOL,)),
    "8.5 CONNECT without :authority": (fields((":method", "CONNECT")), (PROTOCOL,)),
    "8.5 CONNECT with :scheme": (
        fields((":method", "CONNECT"), (":scheme", "http"), (":authority", "a.test:443")),
        (PROTOCOL,),
    ),
    "8441 4 CONNECT with :protocol, and without :path": (
        fields((":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "a.test")),
        (PROTOCOL,),
    ),
    "8441 4 CONNECT with :protocol, and without :scheme": (
        fields((":method", "CONNECT"), (":protocol", "websocket"), (":path", "/"), (":authority", "a.test")),
        (PROTOCOL,),
    ),
    "8441 :protocol without CONNECT": (fields(*request(), (":protocol", "websocket")), (PROTOCOL,)),
}


def ended(h2: Http2Client) -> list[int]:
    """The codes with which a connection has ended."""
    h2.to_the_end()
    return [frame.error_code for frame in h2.goaways]


@pytest.mark.parametrize("case", ENDS_THE_CONNECTION)
def test_errors_of_a_connection(lb: Edge, case: str) -> None:
    send, codes = ENDS_THE_CONNECTION[case]
    with client(lb) as h2:
        with contextlib.suppress(OSError):
            send(h2)
        assert any(code in codes for code in ended(h2)), h2.goaways


@pytest.mark.parametrize("case", ENDS_THE_STREAM)
def test_errors_of_a_stream(lb: Edge, case: str) -> None:
    send, codes = ENDS_THE_STREAM[case]
    with client(lb) as h2:
        stream = 0
        with contextlib.suppress(OSError):
            stream = send(h2)
        answer = h2.answers.setdefault(stream, Answer())
        with contextlib.suppress(EOFError, ConnectionError):
            h2.until(lambda: answer.reset is not None or h2.goaways)
        if answer.reset is None:
            assert any(code in codes for code in ended(h2)), (h2.goaways, answer)
        else:
            assert answer.reset in codes
            if case.startswith("5.1.2 more"):
                return
            h2.ping()
            assert h2.ask("GET", "/after").body == b"GET /after HTTP/1.1\n"


# What has to be borne, or answered

Check = Callable[[Http2Client], None]


def sends(send: Send, status: int = 200) -> Check:
    """The request is answered as others are."""

    def check(h2: Http2Client) -> None:
        assert h2.answer(send(h2)).status == status

    return check


def borne(send: Send) -> Check:
    """Nothing comes of it."""

    def check(h2: Http2Client) -> None:
        send(h2)
        h2.ping()
        assert h2.ask().status == 200
        assert not h2.goaways

    return check


def padded(kind: int) -> Send:
    def send(h2: Http2Client) -> int:
        own = h2.open()
        block = h2.block(POST)
        pad = 5 if kind == HEADERS else 0
        body = (b"\x05" + block + bytes(5)) if pad else block
        h2.raw(raw_frame(HEADERS, END_HEADERS | (PADDED if pad else 0), own, body))
        h2.raw(raw_frame(DATA, END_STREAM | PADDED, own, b"\x06body" + bytes(6)))
        return own

    return send


def padded_by_nothing(h2: Http2Client) -> int:
    own = h2.open()
    h2.raw(raw_frame(HEADERS, END_STREAM | END_HEADERS | PADDED, own, b"\0" + h2.block(request())))
    return own


def padding_alone(h2: Http2Client) -> int:
    own = h2.open()
    h2.headers(own, POST, end=False)
    h2.raw(raw_frame(DATA, PADDED, own, b"\x05" + bytes(5)))
    h2.raw(raw_frame(DATA, END_STREAM | PADDED, own, b"\0"))
    return own


def in_pieces(count: int) -> Send:
    """A field section in HEADERS and so many CONTINUATIONs."""

    def send(h2: Http2Client) -> int:
        own = h2.open()
        block = h2.block([*request(), *((f"x-{number}", "value") for number in range(10))])
        step = len(block) // (count + 1) + 1
        pieces = [block[at : at + step] for at in range(0, len(block), step)]
        for number, piece in enumerate(pieces):
            flags = (END_HEADERS if number == len(pieces) - 1 else 0) | (END_STREAM if number == 0 else 0)
            h2.raw(raw_frame(CONTINUATION if number else HEADERS, flags, own, piece))
        return own

    return send


def with_priority(depends_on: int, weight: int, exclusive: bool) -> Send:
    def send(h2: Http2Client) -> int:
        own = h2.open()
        priority = (depends_on | (2**31 if exclusive else 0)).to_bytes(4, "big") + bytes([weight])
        body = priority + h2.block(request())
        h2.raw(raw_frame(HEADERS, END_STREAM | END_HEADERS | PRIORITISED, own, body))
        return own

    return send


def reserved_bit(h2: Http2Client) -> int:
    """The bit in front of a stream's number means nothing."""
    own = h2.open()
    frame = bytearray(raw_frame(HEADERS, END_STREAM | END_HEADERS, own, h2.block(request())))
    frame[5] |= 0x80
    h2.raw(bytes(frame))
    return own


def several_bodies(h2: Http2Client) -> int:
    own = h2.open()
    h2.headers(own, POST, end=False)
    for _ in range(5):
        h2.data(own, b"12")
    h2.data(own, b"", end=True)
    return own


def largest_frame(h2: Http2Client) -> int:
    own = h2.open()
    h2.headers(own, POST, end=False)
    h2.data(own, bytes(16384), end=True)
    return own


def window_of_one(h2: Http2Client) -> None:
    """6.9.1: DATA of the window's size, and no more until there is credit."""
    h2.frame(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1}))
    h2.reads = False
    own = h2.send()
    answer = h2.head_of(own)
    h2.until(lambda: answer.body)
    h2.ping()
    assert (answer.body, answer.ended) == (b"G", False)
    h2.raw(raw_frame(WINDOW_UPDATE, 0, own, (2).to_bytes(4, "big")))
    h2.until(lambda: len(answer.body) == 3)
    h2.raw(raw_frame(WINDOW_UPDATE, 0, own, CREDIT))
    assert h2.answer(own).body == b"GET / HTTP/1.1\n"


def window_that_changes(h2: Http2Client) -> None:
    """6.9.2: a change of the size counts for streams that are open."""
    h2.frame(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}))
    h2.reads = False
    own = h2.send()
    answer = h2.head_of(own)
    h2.ping()
    assert answer.body == b""
    h2.frame(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1}))
    h2.until(lambda: answer.body)
    h2.ping()
    assert answer.body == b"G"


def window_below_zero(h2: Http2Client) -> None:
    """6.9.2: a window may become negative; then credit has to make up for it first."""
    h2.frame(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 3}))
    h2.reads = False
    own = h2.send()
    answer = h2.head_of(own)
    h2.until(lambda: len(answer.body) == 3)
    h2.frame(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2}))
    h2.raw(raw_frame(WINDOW_UPDATE, 0, own, (1).to_bytes(4, "big")))
    h2.ping()
    assert len(answer.body) == 3
    h2.raw(raw_frame(WINDOW_UPDATE, 0, own, (1).to_bytes(4, "big")))
    h2.until(lambda: len(answer.body) == 4)


def last_setting_counts(h2: Http2Client) -> None:
    """6.5.3: entries are taken in their order."""
    size = SettingsFrame.INITIAL_WINDOW_SIZE
    entry = lambda value: size.to_bytes(2, "big") + value.to_bytes(4, "big")  # noqa: E731
    h2.raw(raw_frame(SETTINGS, 0, 0, entry(100) + entry(1)))
    h2.reads = False
    own = h2.send()
    answer = h2.head_of(own)
    h2.until(lambda: answer.body)
    h2.ping()
    assert answer.body == b"G"


def settings_are_acknowledged(h2: Http2Client) -> None:
    acks: list[bool] = []
    frame = SettingsFrame(0, settings={})
    before = h2._rest
    assert before == b""
    h2.frame(frame)
    head = h2._exactly(9)
    acks.append(head[3] == SETTINGS and head[4] == ACK and head[:3] == b"\0\0\0")
    assert acks == [True]


def ping_is_answered(h2: Http2Client) -> None:
    h2.ping(b"h2spec\0\x01")
    assert h2.pongs[-1] == b"h2spec\0\x01"


def answer_to_no_ping(h2: Http2Client) -> None:
    """6.7: an acknowledgement is not answered."""
    h2.raw(raw_frame(PING, ACK, 0, b"unwanted"))
    h2.ping(b"expected")
    assert h2.pongs[-1] == b"expected"
    assert b"unwanted" not in h2.pongs


def head_has_no_body(h2: Http2Client) -> None:
    answer = h2.ask("HEAD", "/")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.head["content-length"]) > 0


def post_with_trailers(h2: Http2Client) -> None:
    own = trailers(("x-test", "ok"))(h2)
    assert h2.answer(own).body == b"POST / HTTP/1.1\nbody"


def names_are_in_lower_case(h2: Http2Client) -> None:
    assert all(name == name.lower() for name in h2.ask().head)


def cookies_are_pieces(h2: Http2Client) -> None:
    assert h2.ask("GET", "/", ("cookie", "a=b"), ("cookie", "c=d")).status == 200


def goaway_lets_streams_end(h2: Http2Client) -> None:
    """6.8: streams that had begun are answered."""
    own = h2.send()
    h2.frame(GoAwayFrame(0, last_stream_id=0, error_code=0))
    assert h2.answer(own).status == 200


def goaway_ends_it(h2: Http2Client) -> None:
    h2.frame(GoAwayFrame(0, last_stream_id=0, error_code=0))
    h2.to_the_end()
    assert h2.closed
    assert all(frame.error_code == 0 for frame in h2.goaways)


def goaway_with_an_unknown_code(h2: Http2Client) -> None:
    own = h2.send()
    h2.frame(GoAwayFrame(0, last_stream_id=0, error_code=0xFF))
    assert h2.answer(own).status == 200


def block_with(*more: bytes, front: bytes = b"") -> Send:
    def send(h2: Http2Client) -> int:
        own = h2.open()
        body = front + b"\x82\x84\x86\x41\x06a.test" + b"".join(more)
        h2.raw(raw_frame(HEADERS, END_STREAM | END_HEADERS, own, body))
        return own

    return send


def table_is_used(h2: Http2Client) -> None:
    """7541 6.2.1: what was added to the table stands for itself in later sections."""
    own = h2.open()
    h2.raw(raw_frame(HEADERS, END_STREAM | END_HEADERS, own, b"\x82\x86\x41\x06a.test\x44\x06/first"))
    assert h2.answer(own).body == b"GET /first HTTP/1.1\n"
    own = h2.open()
    h2.raw(raw_frame(HEADERS, END_STREAM | END_HEADERS, own, b"\x82\x86\xbf\xbe"))
    assert h2.answer(own).body == b"GET /first HTTP/1.1\n"


def table_is_emptied(h2: Http2Client) -> None:
    """7541 4.2, 4.3: with a size of 0 nothing of it stays."""
    own = h2.open()
    h2.raw(raw_frame(HEADERS, END_STREAM | END_HEADERS, own, b"\x82\x86\x41\x06a.test\x44\x06/first"))
    assert h2.answer(own).status == 200
    own = h2.open()
    h2.raw(raw_frame(HEADERS, END_STREAM | END_HEADERS, own, b"\x20\x3f\xe1\x1f\x82\x86\x84\xbe"))
    assert COMPRESSION in ended(h2)


def table_of_a_malformed_request(h2: Http2Client) -> None:
    """4.3: what follows a field for which the stream is reset changes the tables as well."""
    bad = h2.open()
    block = b"\x82\x86\x00\x01X\x01y\x41\x06b.test\x44\x06/first"
    h2.raw(raw_frame(HEADERS, END_STREAM | END_HEADERS, bad, block))
    assert h2.answer(bad).reset == PROTOCOL
    own = h2.open()
    h2.raw(raw_frame(HEADERS, END_STREAM | END_HEADERS, own, b"\x82\x86\xbf\xbe"))
    assert h2.answer(own).body == b"GET /first HTTP/1.1\n"


def padding_is_given_back(h2: Http2Client) -> None:
    """6.9.1: padding counts against the windows, so it has to be given back as the body is."""
    own = h2.open()
    h2.headers(own, POST, end=False)
    frame = raw_frame(DATA, PADDED, own, b"\xffx" + bytes(255))
    for _ in range(10):
        h2.raw(frame * 500)  # half of a stream's window
        h2.ping()
    h2.data(own, b"", end=True)
    assert h2.answer(own).body == b"POST / HTTP/1.1\n" + b"x" * 5000


def own_table_is_limited(h2: Http2Client) -> None:
    """7541 4.2: an encoder keeps to the size that it was told, and says so first."""
    h2.frame(SettingsFrame(0, settings={SettingsFrame.HEADER_TABLE_SIZE: 0}))
    h2.decoder.max_allowed_table_size = 0
    for _ in range(2):
        assert h2.ask().head["x-a"] == "b"
    assert h2.decoder.header_table_size == 0


BORNE: dict[str, Check] = {
    "3.4 settings are the first frame": lambda h2: None,
    "4.1 a frame of an unknown type": borne(raw(0x16, 0, 0, bytes(8))),
    "4.1 undefined flags": borne(raw(PING, 0x16 & ~ACK, 0, bytes(8))),
    "4.1 the reserved bit": sends(reserved_bit),
    "4.2 a frame of the largest size": sends(largest_frame),
    "5.1 PRIORITY on an idle stream": borne(raw(PRIORITY, 0, 1, b"\0\0\0\0\xff")),
    "5.1 WINDOW_UPDATE on a half-closed stream": borne(half_closed_then(WINDOW_UPDATE, 0, CREDIT)),
    "5.1 PRIORITY on a half-closed stream": borne(half_closed_then(PRIORITY, 0, b"\0\0\0\0\xff")),
    "5.1 RST_STREAM on a half-closed stream": borne(half_closed_then(RST_STREAM, 0, b"\0\0\0\x08")),
    "5.1 PRIORITY on a closed stream": borne(closed_then(PRIORITY, 0, b"\0\0\0\0\xff")),
    "5.1 WINDOW_UPDATE on a closed stream": borne(closed_then(WINDOW_UPDATE, 0, CREDIT)),
    "5.1 RST_STREAM on a closed stream": borne(closed_then(RST_STREAM, 0, b"\0\0\0\x08")),
    "5.1.1 a stream with a lower number than one that has a priority": sends(
        two(raw(PRIORITY, 0, 5, b"\0\0\0\0\xff"), fields(*request()))
    ),
    "5.4.1 a frame of a type that is unknown, on a closed stream": borne(closed_then(0x16, 0, b"text")),
    "5.5 an unknown setting and an unknown frame": borne(two(settings(0xF0, 7), raw(0xF0, 0xFF, 0, bytes(100)))),
    "5.5 an unknown frame on a stream": borne(open_then(0x16, 0xFF, b"text", method="GET")),
    "6.1 DATA": sends(fields(*POST, bodies=(b"test",))),
    "6.1 several DATA": sends(several_bodies),
    "6.1 DATA with padding": sends(padded(DATA)),
    "6.2 HEADERS": sends(fields(*request())),
    "6.2 HEADERS with padding": sends(padded(HEADERS)),
    "6.2 HEADERS with a priority": sends(with_priority(0, 255, False)),
    "6.2 HEADERS with padding of nothing but its length": sends(padded_by_nothing),
    "6.1 DATA that is padding alone": sends(padding_alone),
    "6.1 DATA of no bytes": sends(fields(*POST, length=0, bodies=(b"", b""))),
    "6.3 a weight of 1": borne(raw(PRIORITY, 0, 1, b"\0\0\0\0\0")),
    "6.3 an exclusive dependency": sends(with_priority(0, 15, True)),
    "6.3 a dependency on an unknown stream": sends(with_priority(99, 15, False)),
    "6.4 RST_STREAM": borne(open_then(RST_STREAM, 0, b"\0\0\0\x08")),
    "6.4 RST_STREAM with an unknown code": borne(open_then(RST_STREAM, 0, b"\0\0\0\xff")),
    "6.5 empty SETTINGS": borne(raw(SETTINGS, 0, 0)),
    "6.5 SETTINGS_ENABLE_PUSH of 0 and of 1": borne(two(settings(2, 0), settings(2, 1))),
    "6.5.2 an unknown setting": borne(settings(0xFF, 1)),
    "6.5.3 the last of several values": last_setting_counts,
    "6.5.3 settings are acknowledged": settings_are_acknowledged,
    "6.7 PING": ping_is_answered,
    "6.7 PING with ACK": answer_to_no_ping,
    "6.8 GOAWAY": goaway_lets_streams_end,
    "6.8 GOAWAY without streams ends the connection": goaway_ends_it,
    "6.8 GOAWAY with an unknown code": goaway_with_an_unknown_code,
    "6.9 WINDOW_UPDATE on the connection": borne(raw(WINDOW_UPDATE, 0, 0, CREDIT)),
    "6.9 WINDOW_UPDATE on a stream": borne(open_then(WINDOW_UPDATE, 0, CREDIT)),
    "6.9.1 a window of one byte": window_of_one,
    "6.9.2 a window that changes": window_that_changes,
    "6.9.2 a window below zero": window_below_zero,
    "6.10 CONTINUATION": sends(in_pieces(1)),
    "6.10 several CONTINUATIONs": sends(in_pieces(4)),
    "7 RST_STREAM with an unknown code": borne(open_then(RST_STREAM, 0, b"\xff\xff\xff\xff")),
    "8.1 GET": sends(fields(*request())),
    "8.1 HEAD": head_has_no_body,
    "8.1 POST": sends(fields(*POST, length=4, bodies=(b"test",))),
    "8.1 POST with trailers": post_with_trailers,
    "8.2 names of answers are in lower case": names_are_in_lower_case,
    "8.2.2 TE: trailers": sends(fields(*request(), ("te", "trailers"))),
    "8.2.3 cookies in pieces": cookies_are_pieces,
    "8.3.1 OPTIONS *": sends(fields(*request("OPTIONS", "*"))),
    "7541 6.1 fields by their index": sends(block_with()),
    "7541 6.2.1 a literal for the table, its name by an index": sends(block_with(b"\x7a\x04test")),
    "7541 6.2.1 a literal for the table": sends(block_with(b"\x40\x01x\x04test")),
    "7541 6.2.2 a literal, its name by an index": sends(block_with(b"\x0f\x2b\x04test")),
    "7541 6.2.2 a literal": sends(block_with(b"\x00\x01x\x04test")),
    "7541 6.2.3 a literal that is never indexed, its name by an index": sends(block_with(b"\x1f\x2b\x04test")),
    "7541 6.2.3 a literal that is never indexed": sends(block_with(b"\x10\x01x\x04test")),
    "7541 5.2 an empty text by the code": sends(block_with(b"\x40\x01x\x80")),
    "7541 6.2.1 a literal for the table, by the code, its name by an index": sends(block_with(b"\x7a\x83\x49\x50\x9f")),
    "7541 6.2.1 a literal for the table, by the code": sends(block_with(b"\x40" + CODED[1:] + b"\x83\x49\x50\x9f")),
    "7541 6.2.2 a literal, by the code, its name by an index": sends(block_with(b"\x0f\x2b\x83\x49\x50\x9f")),
    "7541 6.2.3 a literal that is never indexed, by the code, its name by an index": sends(
        block_with(b"\x1f\x2b\x83\x49\x50\x9f")
    ),
    "7541 6.2.3 a literal that is never indexed, by the code": sends(
        block_with(b"\x10" + CODED[1:] + b"\x83\x49\x50\x9f")
    ),
    "7541 5.2 a text by the code": sends(block_with(CODED + b"\x83\x49\x50\x9f")),
    "7541 6.3 a change of the table's size": sends(block_with(front=b"\x3f\x61")),
    "7541 4.2 two changes of the table's size": sends(block_with(front=b"\x20\x3f\xe1\x1f")),
    "7541 6.2.1 what is in the table": table_is_used,
    "7541 4.3 what is in the table no more": table_is_emptied,
    "7541 4.2 the encoder's table": own_table_is_limited,
    "4.3 the block of a request that is malformed": table_of_a_malformed_request,
    "6.9.1 padding": padding_is_given_back,
    "8.2.3 an empty cookie": sends(fields(*request(), ("cookie", ""), ("cookie", "c=d"))),
    "9218 5 a priority that cannot be read": sends(fields(*request(), ("priority", "u=9, i=maybe, ;;"))),
    "9218 7.1 PRIORITY_UPDATE": borne(open_then(PRIORITY_UPDATE, 0, b"\0\0\0\1u=1, i", method="GET", stream=0)),
    "9218 7.1 PRIORITY_UPDATE of a stream that is idle": borne(raw(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x65u=1")),
    "9218 7.1 PRIORITY_UPDATE that cannot be read": borne(raw(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x65???")),
}


@pytest.mark.parametrize("case", BORNE)
def test_what_has_to_be_borne_or_answered(lb: Edge, case: str) -> None:
    with client(lb) as h2:
        BORNE[case](h2)


def test_the_first_frame_has_to_be_settings(lb: Edge) -> None:
    with contextlib.closing(socket.create_connection(lb.address, timeout=TIMEOUT_S)) as sock:
        sock.sendall(PREFACE + raw_frame(PING, 0, 0, bytes(8)))
        answer = Peer(sock).to_the_end()
    assert raw_frame(GOAWAY, 0, 0)[3:9] in answer
    assert bytes([0, 0, 0, PROTOCOL]) in answer


def test_our_settings_come_first_and_once(lb: Edge) -> None:
    with contextlib.closing(socket.create_connection(lb.address, timeout=TIMEOUT_S)) as sock:
        sock.sendall(PREFACE + SettingsFrame(0).serialize())
        head = Peer(sock).exactly(9)
        assert (head[3], head[4] & ACK, head[5:9]) == (SETTINGS, 0, bytes(4))


def test_an_invalid_preface_ends_a_connection_that_has_agreed_on_http2(tmp_path: Path) -> None:
    files = certificate(tmp_path, "a", "a.test")
    with serving(answer_with_its_body) as server:
        dynamic = config_for(server.url)
        dynamic["http"]["routers"]["all"]["tls"] = {}
        dynamic["tls"] = {"certificates": [files.entry]}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        with edge(dynamic) as lb:
            plain = socket.create_connection(lb.address, timeout=TIMEOUT_S)
            with context.wrap_socket(plain, server_hostname="a.test") as sock:
                sock.sendall(b"INVALID CONNECTION PREFACE\r\n\r\n")
                Peer(sock).to_the_end()
                assert sock.selected_alpn_protocol() == "h2"


def test_a_stream_that_lbcore_has_reset_may_still_send(lb: Edge) -> None:
    """Section 5.1: what was on its way when a stream was reset is no error."""
    with client(lb) as h2:
        for _ in range(3):
            stream = h2.open()
            h2.headers(stream, [*POST, ("connection", "close")], end=False)
            h2.data(stream, b"on its way")
            assert h2.answer(stream).reset == PROTOCOL
            h2.data(stream, b"on its way, too")
            h2.headers(stream, [("x-test", "ok")])
            h2.ping()
        assert h2.ask().status == 200
        assert not h2.goaways

