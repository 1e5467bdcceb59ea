"""Clients of HTTP/2 that cost more than they bring: each is sent away, counted, and others are served meanwhile."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support.http2 import PREFACE, Http2Client, raw_frame, request
from tests.support.instance import eventually
from tests.support.wire import TIMEOUT_S, Edge, Peer, config_for, edge, serving

FLOOD = 20000
GROWTH_BYTES = 16 << 20
SANITIZED = "libasan" in Path("/proc/self/maps").read_text()
if SANITIZED:
    GROWTH_BYTES += 320 << 20  # the address sanitizer keeps 256 MiB of what was freed, and notes about it


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@contextlib.contextmanager
def client(lb: Edge) -> Iterator[Http2Client]:
    found = Http2Client(socket.create_connection(lb.address, timeout=TIMEOUT_S))
    try:
        yield found
    finally:
        found.close()


def flood(h2: Http2Client, pieces: Iterator[bytes]) -> None:
    """Send all of it, unless the other side ends the connection; what it says meanwhile is read."""
    done = threading.Event()

    def read() -> None:
        h2.to_the_end()
        done.set()

    threading.Thread(target=read, daemon=True).start()
    with contextlib.suppress(OSError):
        for piece in pieces:
            if done.is_set():
                break
            h2.sock.sendall(piece)
    assert done.wait(TIMEOUT_S)


def empty_data(h2: Http2Client) -> Iterator[bytes]:
    h2.headers(h2.open(), request("POST"), end=False)
    frame = DataFrame(1, b"").serialize() * 100
    return (frame for _ in range(FLOOD // 100))


def rapid_reset(h2: Http2Client, together: bool) -> Iterator[bytes]:
    for stream in range(1, FLOOD, 2):
        head = HeadersFrame(stream, h2.block(request()), flags=["END_HEADERS", "END_STREAM"]).serialize()
        reset = RstStreamFrame(stream, error_code=8).serialize()
        if together:
            yield head + reset
        else:
            yield head
            yield reset


def made_you_reset(h2: Http2Client, frame: Callable[[int], bytes]) -> Iterator[bytes]:
    for stream in range(1, FLOOD, 2):
        yield HeadersFrame(stream, h2.block(request()), flags=["END_HEADERS", "END_STREAM"]).serialize() + frame(stream)


def repeated(frame: bytes) -> Callable[[Http2Client], Iterator[bytes]]:
    return lambda _: (frame * 100 for _ in range(FLOOD // 100))


def hpack_bomb(h2: Http2Client) -> Iterator[bytes]:
    h2.headers(h2.open(), [*request(), ("x-bomb", "v" * 3000)])
    for stream in range(3, FLOOD, 2):
        block = h2.block(request()) + h2.block([("x-bomb", "v" * 3000)]) * 5000
        yield HeadersFrame(stream, block, flags=["END_HEADERS", "END_STREAM"]).serialize()


def continuations(empty: bool) -> Callable[[Http2Client], Iterator[bytes]]:
    def pieces(h2: Http2Client) -> Iterator[bytes]:
        yield HeadersFrame(1, h2.block(request())).serialize()
        piece = b"" if empty else h2.block([("x", "v" * 1000)])
        for _ in range(FLOOD):
            yield ContinuationFrame(1, piece).serialize()

    return pieces


FLOODS: dict[str, Callable[[Http2Client], Iterator[bytes]]] = {
    "pings": repeated(PingFrame(0, opaque_data=b"12345678").serialize()),
    "settings": repeated(SettingsFrame(0, settings={4: 65535}).serialize()),
    "priorities": repeated(PriorityFrame(1, depends_on=0, stream_weight=16).serialize()),
    "priority updates": repeated(raw_frame(0x10, 0, 0, b"\0\0\0\1u=1")),
    "windows": repeated(WindowUpdateFrame(0, window_increment=1).serialize()),
    "unknown frames to a stream that is idle": repeated(raw_frame(0x6A, 0, 0, b"x" * 16)),
    "empty data": empty_data,
    "resets in the same breath": lambda h2: rapid_reset(h2, True),
    "resets": lambda h2: rapid_reset(h2, False),
    "made you reset: a window of 0": lambda h2: made_you_reset(h2, lambda stream: raw_frame(8, 0, stream, bytes(4))),
    "made you reset: a window that overflows": lambda h2: made_you_reset(
        h2, lambda stream: raw_frame(8, 0, stream, b"\x7f\xff\xff\xff")
    ),
    "made you reset: data behind the end": lambda h2: made_you_reset(
        h2, lambda stream: DataFrame(stream, b"x").serialize()
    ),
    "made you reset: a priority on itself": lambda h2: made_you_reset(
        h2, lambda stream: raw_frame(2, 0, stream, stream.to_bytes(4, "big") + b"\x10")
    ),
    "continuations": continuations(False),
    "empty continuations": continuations(True),
    "a table that is a bomb": hpack_bomb,
}


@pytest.mark.parametrize("case", FLOODS)
def test_a_flood_ends_its_connection_and_no_other(case: str) -> None:
    asked = [0]

    def script(peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                first = peer.message()[0]
                asked[0] += "/polite" not in first
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb) as polite:
        assert polite.ask("GET", "/polite").status == 200
        before = resident_bytes()
        with client(lb) as h2:
            flood(h2, FLOODS[case](h2))
            assert h2.closed
        assert polite.ask("GET", "/polite").status == 200
        if "reset" in case:
            assert asked[0] <= 300
        assert resident_bytes() - before < GROWTH_BYTES
        eventually(lambda: lb.open_connections == 1, "the connection is gone")
        counted = lb.proxy._region.entry_point_counters(0).errors
        assert counted["abuse"] + counted["bad_request"] > 0


@pytest.mark.parametrize("at_once", [True, False])
def test_frames_behind_an_error_do_no_harm(at_once: bool) -> None:
    """What comes on a connection that has ended with an error: frames of any kind and length (CVE-2026-27135)."""
    error = raw_frame(6, 0, 1, bytes(8))  # PING on a stream
    rest = b"".join(raw_frame(kind, 0xFF, stream, bytes(3)) for kind in (*range(12), 0x10) for stream in (0, 1, 2, 99))
    with serving() as server, edge(config_for(server.url)) as lb, client(lb) as polite:
        for first in (b"", raw_frame(1, 5, 1, b"\x82\x84\x86\x41\x06a.test"), raw_frame(1, 1, 1, b"\x82\x84")):
            with client(lb) as h2:
                h2.ping()
                with contextlib.suppress(OSError):
                    if at_once:
                        h2.raw(first + error + rest)
                    else:
                        h2.raw(first + error)
                        lb.settle()
                        h2.raw(rest)
                h2.to_the_end()
                assert [frame.error_code for frame in h2.goaways][-1] == 1
        assert polite.ask().status == 200
        eventually(lambda: lb.open_connections == 1, "the connections are gone")


# Many streams that do nothing, or whose answers nobody reads

CONNECTIONS, STREAMS = 100, 250
STREAM_BYTES = 12 << 10  # of an open stream with its exchange, in all its parts


def test_idle_streams_cost_bounded_memory() -> None:
    """As many streams as are allowed, on many connections; all but one of their requests wait in a queue."""
    head = b"\x82\x84\x86\x01\x06a.test"
    requests = b"".join(raw_frame(1, 5, 2 * number + 1, head) for number in range(STREAMS))
    queue = {"maxRequests": CONNECTIONS * STREAMS, "timeout": "100s"}
    with serving(Peer.to_the_end) as server, edge(config_for(server.url, maxConnections=1, queue=queue)) as lb:
        with contextlib.ExitStack() as stack:
            found = [stack.enter_context(client(lb)) for _ in range(CONNECTIONS)]
            for h2 in found:
                h2.ping()
            before = resident_bytes()
            for h2 in found:
                h2.raw(requests)
            for h2 in found:
                h2.ping()
                assert not any(answer.reset for answer in h2.answers.values())
            if not SANITIZED:
                assert resident_bytes() - before < CONNECTIONS * STREAMS * STREAM_BYTES
            # One stream more than is allowed is one too many, and no connection suffers from the others.
            found[0].raw(raw_frame(1, 5, 2 * STREAMS + 1, head))
            found[0].to_the_end()
            assert [frame.error_code for frame in found[0].goaways] == [1]
            found[1].ping()
        eventually(lambda: lb.open_connections == 0, "all is given back")


def test_answers_that_nobody_reads_cost_bounded_memory() -> None:
    body = bytes(1 << 20)
    asked: list[str] = []

    def script(peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            # The kernel may take a whole answer for a client that does not read: its connection is used again.
            while True:
                asked.append(peer.message()[0])
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
                peer.send(body)

    with serving(script) as server, edge(config_for(server.url)) as lb:
        with contextlib.ExitStack() as stack:
            found = []
            for _ in range(10):
                sock = socket.create_connection(lb.address, timeout=TIMEOUT_S)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                found.append(Http2Client(sock, window=1 << 30))
                stack.callback(sock.close)
            for h2 in found:
                h2.ping()
            before = resident_bytes()
            for h2 in found:
                for _ in range(50):
                    h2.send()
            eventually(lambda: len(asked) >= len(found), "servers are asked")
            seen = 0
            while seen < len(asked) < 500:
                seen = len(asked)
                time.sleep(1)
            lb.settle()
            assert resident_bytes() - before < GROWTH_BYTES + (96 << 20)  # of 500 MiB
            with client(lb) as polite:
                stream = polite.send()
                assert len(polite.answer(stream).body) == len(body)
        eventually(lambda: lb.open_connections == 0, "all is given back")


IDLE_CONNECTIONS = 400
IDLE_BYTES = 12 << 10  # of an idle connection without TLS, after an answer, with the client's end of it in this process


def test_idle_connections_take_little_memory() -> None:
    head = b"\x82\x84\x86\x41\x06a.test"
    first = PREFACE + SettingsFrame(0).serialize() + raw_frame(1, 5, 1, head)

    def asked(lb: Edge) -> socket.socket:
        sock = socket.create_connection(lb.address, timeout=TIMEOUT_S)
        sock.sendall(first)
        answer = b""
        while not answer.endswith(b"GET / HTTP/1.1\n"):
            piece = sock.recv(65536)
            assert piece
            answer += piece
        sock.sendall(SettingsFrame(0, flags=["ACK"]).serialize())
        return sock

    with serving() as server, edge(config_for(server.url)) as lb, contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.callback(asked(lb).close)
        before = resident_bytes()
        for _ in range(IDLE_CONNECTIONS):
            stack.callback(asked(lb).close)
        lb.settle()
        if not SANITIZED:
            assert (resident_bytes() - before) / IDLE_CONNECTIONS < IDLE_BYTES
