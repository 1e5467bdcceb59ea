"""QUIC and HTTP/3 in a hostile world: drawn datagrams, frames and streams. Nothing stays, and others are served."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aioquic.buffer import BufferWriteError
from aioquic.h3.connection import ProtocolError
from aioquic.quic.packet_builder import QuicPacketBuilder, QuicPacketBuilderStop

from tests.fuzz.effort import SEED, seconds
from tests.support.certificates import certificate
from tests.support.http3 import Http3Client, http3
from tests.support.instance import eventually
from tests.support.wire import Edge, config_for, edge, serving

SECONDS = seconds(5)
# Of aioquic, to what it is made to send.
OBJECTIONS = (AssertionError, ValueError, LookupError, RuntimeError, ProtocolError)
KNOWN_FRAMES = [*range(0x1F), 0x30, 0x31, 0x40AF, 0x21]


class Hostile(Http3Client):
    """A client some of whose packets end in a frame of drawn bytes, and some of whose datagrams are damaged."""

    def __init__(self, draw: random.Random, address: Any) -> None:
        self.draw = draw
        self.framed = self.damaged = 0.0
        super().__init__(address)
        sound = self.quic._write_application

        def write(builder: QuicPacketBuilder, network_path: Any, now: float) -> None:
            sound(builder, network_path, now)
            if draw.random() < self.framed and builder._packet is not None:
                with contextlib.suppress(QuicPacketBuilderStop, BufferWriteError, AssertionError):
                    buffer = builder.start_frame(draw.choice(KNOWN_FRAMES), capacity=64)
                    buffer.push_bytes(drawn(draw, draw.randrange(60)))

        self.quic._write_application = write  # type: ignore[method-assign]

    def flush(self) -> None:
        for datagram, _ in self.quic.datagrams_to_send(now=time.monotonic()):
            with contextlib.suppress(OSError):
                self.sock.sendto(self.damage(datagram), self.address)
                if self.draw.random() < self.damaged:
                    self.sock.sendto(datagram, self.address)

    def damage(self, datagram: bytes) -> bytes:
        draw = self.draw
        if draw.random() >= self.damaged:
            return datagram
        what = draw.randrange(4)
        if what == 0:
            return datagram[: draw.randrange(len(datagram) + 1)]
        if what == 1:
            return datagram + drawn(draw, draw.randrange(200))
        at = draw.randrange(min(len(datagram), 40 if what == 2 else len(datagram)))
        return datagram[:at] + drawn(draw, 1) + datagram[at + 1 :]


def drawn(draw: random.Random, count: int) -> bytes:
    return bytes(
        draw.choice((0, 0, 1, 2, 4, 0x3F, 0x40, 0x7F, 0x80, 0xC0, 0xFF, draw.randrange(256))) for _ in range(count)
    )


def misbehave(draw: random.Random, lb: Edge) -> None:
    client = Hostile(draw, lb.address)
    try:
        client.damaged = draw.choice((0.0, 0.0, 0.1, 0.5))
        for _ in range(30):
            client.turn(0.005)
            if client.terminated is not None:
                return
            if client.quic._handshake_complete:
                break
        client.framed = draw.choice((0.0, 0.0, 0.05, 0.3))
        for _ in range(draw.randrange(25)):
            step(draw, client)
            if draw.random() < 0.5:
                client.turn(0.002)
            if client.terminated is not None:
                return
        if draw.random() < 0.5:
            client.quic.close(error_code=draw.choice((0, 0x100, 0x10C)))
    except OBJECTIONS:
        pass
    finally:
        with contextlib.suppress(Exception):
            client.close()


def step(draw: random.Random, client: Hostile) -> None:
    quic = client.quic
    what = draw.randrange(9)
    with contextlib.suppress(*OBJECTIONS):
        if what <= 2:
            method = draw.choice(("GET", "POST", "HEAD", "CONNECT", "OPTIONS"))
            extra = draw.choice(
                ((), (("content-length", "5"),), (("x", "y" * draw.randrange(5000)),), (("te", "gzip"),))
            )
            stream = client.open(method, draw.choice(("/", "*", "/a%00", "x")), *extra, end=draw.random() < 0.5)
            if draw.random() < 0.5:
                client.data(stream, b"x" * draw.randrange(100000), end=draw.random() < 0.7)
            if draw.random() < 0.3:
                quic.reset_stream(stream, 0x10C)
            if draw.random() < 0.3:
                quic.stop_stream(stream, 0x10C)
        elif what <= 4:
            stream = quic.get_next_available_stream_id(is_unidirectional=what == 4)
            quic.send_stream_data(stream, drawn(draw, draw.randrange(80)), end_stream=draw.random() < 0.5)
        elif what == 5 and client.http._local_control_stream_id is not None:
            quic.send_stream_data(client.http._local_control_stream_id, drawn(draw, draw.randrange(20)))
        elif what == 6 and client.http._local_encoder_stream_id is not None:
            quic.send_stream_data(client.http._local_encoder_stream_id, drawn(draw, draw.randrange(40)))
        elif what == 7:
            client.move()
            if draw.random() < 0.5:
                quic.change_connection_id()
        else:
            quic.request_key_update()


@pytest.fixture
def lb(tmp_path: Path) -> Iterator[Edge]:
    files = certificate(tmp_path, "a", "a.test")
    with serving() as server:
        dynamic = config_for(server.url)
        dynamic["http"]["routers"]["all"]["tls"] = {}
        timeouts = {"respondingTimeouts": {"idleTimeout": "2s", "headerTimeout": "1s", "readTimeout": "2s"}}
        with edge({**dynamic, "tls": {"certificates": [files.entry]}}, http3={}, transport=timeouts) as found:
            yield found


def test_hostile_connections(lb: Edge) -> None:
    print(f"LBCORE_FUZZ_SEED={SEED}")
    draw = random.Random(SEED)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        misbehave(draw, lb)
    with http3(lb.address) as h3:
        assert h3.ask("POST", "/", body=b"x" * 1000).body.endswith(b"x" * 1000)
    eventually(lambda: lb.open_connections == 0, "the connections")


def test_hostile_datagrams(lb: Edge) -> None:
    print(f"LBCORE_FUZZ_SEED={SEED}")
    draw = random.Random(SEED)
    end = time.monotonic() + SECONDS
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(lb.address)
        sock.setblocking(False)
        while time.monotonic() < end:
            first = draw.choice((0xC0, 0xD0, 0xE0, 0xF0, 0x40, draw.randrange(256)))
            version = draw.choice((b"\0\0\0\1", b"\0\0\0\1", b"\x6b\x33\x43\xcf", b"\0\0\0\0", b"\x1a\x2a\x3a\x4a"))
            sizes = draw.choice((8, 16, 20, 21, 0, draw.randrange(256))), draw.choice((8, 16, 20, 21, 0))
            ids = b"".join(bytes([size]) + drawn(draw, min(size, 30)) for size in sizes)
            token = draw.choice((b"\0", b"\x10" + drawn(draw, 16), b"\x40\x40\xb7" + drawn(draw, 63), b"\xff"))
            head = bytes([first]) + version + ids + token
            size = draw.choice((0, 100, 1200, 1200, 1400))
            with contextlib.suppress(OSError):
                sock.send(head + drawn(draw, max(0, size - len(head))))
                sock.recv(65536)
    eventually(lambda: lb.open_connections == 0, "the connections")
    with http3(lb.address) as h3:
        assert h3.ask().status == 200
