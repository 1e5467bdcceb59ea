"""Clients of HTTP/2 that cost more than they bring: each is sent away, counted, and others are served meanwhile."""

from __future__ import annotations

import contextlib
import socket
import threading
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

from tests.support.http2 import Http2Client, raw_frame, request
from tests.support.instance import eventually
from tests.support.wire import TIMEOUT_S, Edge, Peer, config_for, edge, serving

FLOOD = 20000
GROWTH_BYTES = 16 << 20
if "libasan" in Path("/proc/self/maps").read_text():
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
