"""Floods of frames in QUIC and HTTP/3 end their connection or are borne, at a bounded cost, and others are served."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aioquic.buffer import BufferWriteError, encode_uint_var
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder, QuicPacketBuilderStop
from aioquic.tls import Epoch

from tests.support.certificates import certificate
from tests.support.http3 import Http3Client, http3
from tests.support.wire import Edge, config_for, edge, serving
from tests.wire.test_http2_abuse import GROWTH_BYTES, resident_bytes

EXCESSIVE_LOAD = 0x107
PACKETS, FRAMES = 150, 25
Frame = tuple[int, bytes]


class Flooding(Http3Client):
    """A client that fills its packets with frames of a kind."""

    def __init__(self, address: Any, **settings: Any) -> None:
        self.frame: Callable[[int], Frame] | None = None
        self.sent = self.answered = 0
        self.written = True
        super().__init__(address, **settings)
        self.lost = self.count
        sound = self.quic._write_application

        def write(builder: QuicPacketBuilder, network_path: Any, now: float) -> None:
            sound(builder, network_path, now)
            if self.frame is None or self.written:
                return
            with contextlib.suppress(QuicPacketBuilderStop, BufferWriteError, AssertionError):
                self.written = True
                for _ in range(FRAMES):
                    if builder._packet is None:
                        builder.start_packet(QuicPacketType.ONE_RTT, self.quic._cryptos[Epoch.ONE_RTT])
                    kind, rest = self.frame(self.sent)
                    builder.start_frame(kind, capacity=len(rest) + 8).push_bytes(rest)
                    self.sent += 1

        self.quic._write_application = write  # type: ignore[method-assign]

    def count(self, datagram: bytes) -> bool:
        self.answered += 1
        return False

    def flood(self, frame: Callable[[int], Frame]) -> None:
        """Send packets with these frames, whatever comes back."""
        self.frame = frame
        for _ in range(PACKETS):
            self.written = False
            self.quic.send_ping(0)
            self.turn(0.0)
            if self.terminated is not None:
                break
        self.frame = None


def new_id(number: int) -> Frame:
    """NEW_CONNECTION_ID that retires all those before, so that each asks for a RETIRE_CONNECTION_ID."""
    sequence = encode_uint_var(number + 8)
    return 0x18, sequence + sequence + b"\x08" + number.to_bytes(8, "big") + bytes(8) + number.to_bytes(8, "big")


FLOODS: dict[str, Callable[[int], Frame]] = {
    "PING": lambda number: (0x01, b""),
    "PATH_CHALLENGE": lambda number: (0x1A, number.to_bytes(8, "big")),
    "PATH_RESPONSE": lambda number: (0x1B, number.to_bytes(8, "big")),
    "NEW_CONNECTION_ID": new_id,
    "RETIRE_CONNECTION_ID": lambda number: (0x19, encode_uint_var(number)),
    "MAX_DATA": lambda number: (0x10, encode_uint_var(1 << 40 | number)),
    "MAX_STREAMS": lambda number: (0x12, encode_uint_var(1000 + number)),
    "DATA_BLOCKED": lambda number: (0x14, encode_uint_var(number)),
    "STREAMS_BLOCKED": lambda number: (0x16, encode_uint_var(number)),
    "CRYPTO with gaps": lambda number: (0x06, encode_uint_var(2000 * (number + 1)) + b"\x01x"),
    "a stream with gaps": lambda number: (0x0E, b"\x00" + encode_uint_var(3 * number + 100) + b"\x01x"),
    "empty pieces of a stream": lambda number: (0x0E, b"\x00" + encode_uint_var(100) + b"\x00"),
    "streams that are reset at once": lambda number: (0x04, encode_uint_var(4 * (number % 90)) + b"\x00\x00"),
    "STOP_SENDING": lambda number: (0x05, encode_uint_var(4 * (number % 90)) + b"\x00"),
}


@pytest.fixture(scope="module")
def lb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    files = certificate(tmp_path_factory.mktemp("certificates"), "a", "a.test")
    with serving() as server:
        dynamic = config_for(server.url)
        dynamic["http"]["routers"]["all"]["tls"] = {}
        with edge({**dynamic, "tls": {"certificates": [files.entry]}}, http3={}) as found:
            yield found


@pytest.mark.parametrize("case", FLOODS)
def test_frames_without_end(lb: Edge, case: str) -> None:
    before = resident_bytes()
    client = Flooding(lb.address)
    with contextlib.closing(client), http3(lb.address) as polite:
        client.handshake()
        assert client.ask().status == 200
        before_it = client.answered
        client.flood(FLOODS[case])
        assert client.sent > PACKETS * FRAMES // 2 or client.terminated is not None
        assert polite.ask().status == 200
        # Of the challenges in a packet at most four are answered, each by a packet of its own.
        assert client.answered - before_it < 5 * PACKETS
    assert resident_bytes() - before < 2 * GROWTH_BYTES


def test_fields_that_expand_without_end(lb: Edge) -> None:
    """References to an entry of the table: a few bytes stand for thousands (as in HTTP/2, a bomb)."""
    before = resident_bytes()
    with http3(lb.address) as h3, http3(lb.address) as polite:
        h3.handshake()
        assert h3.ask("GET", "/", ("x-bomb", "v" * 3000)).status == 200
        for _ in range(100):
            h3.open("GET", "/", *[("x-bomb", "v" * 3000)] * 2000)
            h3.turn(0.01)
            if h3.terminated is not None:
                break
        h3.until(lambda: h3.terminated is not None)
        assert h3.terminated is not None
        assert h3.terminated.error_code == EXCESSIVE_LOAD
        assert polite.ask().status == 200
    # The client encodes 6 MB for each request, in this process, too; all requests together stand for 600 MB.
    assert resident_bytes() - before < 4 * GROWTH_BYTES
