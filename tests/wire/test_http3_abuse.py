"""HTTP/3 from clients that mean no good, and packets of nobody: what they cost is bounded."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aioquic.buffer import encode_uint_var

from tests.support.certificates import Files, certificate
from tests.support.http3 import Http3Client, http3
from tests.support.instance import eventually
from tests.support.wire import TIMEOUT_S, Edge, Peer, config_for, edge, serving

EXCESSIVE_LOAD = 0x107
QUIET_S = 0.3  # no answer within this is none; a late one would fail no test that passes


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certificate(tmp_path_factory.mktemp("certificates"), "a", "a.test")


@pytest.fixture
def lb(files: Files) -> Iterator[Edge]:
    with serving() as server:
        dynamic = config_for(server.url)
        dynamic["http"]["routers"]["all"]["tls"] = {}
        with edge({**dynamic, "tls": {"certificates": [files.entry]}}, http3={}) as found:
            yield found


@contextlib.contextmanager
def raw(lb: Edge) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(lb.address)
        sock.settimeout(TIMEOUT_S)
        yield sock


def silent(sock: socket.socket) -> bool:
    sock.settimeout(QUIET_S)
    with contextlib.suppress(TimeoutError):
        sock.recv(65536)
        return False
    return True


def initial(version: int = 1, size: int = 1200, kind: int = 0xC0) -> tuple[bytes, bytes, bytes]:
    """A packet that begins as a client's first one does. Gives it, and its two ids."""
    to, by = os.urandom(8), os.urandom(8)
    head = (
        bytes([kind])
        + struct.pack("!I", version)
        + bytes([8])
        + to
        + bytes([8])
        + by
        + b"\0"
        + encode_uint_var(size - 40)
    )
    return head + os.urandom(size - len(head)), to, by


def first_packet(address: Any) -> bytes:
    """The first datagram of a sound client."""
    sent: list[bytes] = []

    class Silent(Http3Client):
        def flush(self) -> None:
            sent.extend(data for data, _ in self.quic.datagrams_to_send(now=time.monotonic()))

    client = Silent(address)
    client.sock.close()
    return sent[0]


def is_well(lb: Edge) -> bool:
    with http3(lb.address) as h3:
        return h3.ask().status == 200


# Packets of nobody


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\0",
        b"\xff" * 3,
        os.urandom(1200),
        b"\x40" + os.urandom(30),  # too short to be told that it is unknown
        b"\xc0\0\0\0\1" + b"\xff" * 1300,  # an id longer than may be
        b"\xc0\0\0\0\0\x08" + os.urandom(1300),  # version negotiation, of a client
        initial(size=1199)[0],
        initial(version=0x1A2A3A4A, size=1199)[0],
        initial(kind=0xD0)[0],  # 0-RTT
        initial(kind=0xE0)[0],  # handshake
        initial(kind=0xF0)[0],  # Retry
    ],
    ids=range(12),  # what is drawn differs from process to process
)
def test_what_begins_nothing_gets_no_answer_and_no_memory(lb: Edge, packet: bytes) -> None:
    with raw(lb) as sock:
        packet = bytes([packet[0] | 0x80]) + packet[1:] if len(packet) == 1200 and packet[0] < 0x80 else packet
        if len(packet) >= 1200 and packet[1:5] not in (b"\0\0\0\0", b"\0\0\0\1"):
            packet = packet[:1] + b"\0\0\0\0" + packet[5:]
        sock.send(packet)
        assert silent(sock)
    assert lb.open_connections == 0
    assert is_well(lb)


def test_another_version_is_told_ours(lb: Edge) -> None:
    packet, to, by = initial(version=0x1A2A3A4A)
    with raw(lb) as sock:
        sock.send(packet)
        answer = sock.recv(65536)
    assert answer[0] & 0x80
    assert answer[1:5] == b"\0\0\0\0"
    assert answer[5:23] == bytes([8]) + by + bytes([8]) + to
    versions = struct.unpack(f"!{(len(answer) - 23) // 4}I", answer[23:])
    assert 1 in versions
    assert any(version & 0x0F0F0F0F == 0x0A0A0A0A for version in versions)


def test_an_unknown_connection_is_reset_with_fewer_bytes(lb: Edge) -> None:
    ident = os.urandom(16)
    with raw(lb) as sock:
        tokens = set()
        for size in (60, 100, 1200):
            sock.send(b"\x40" + ident + os.urandom(size - 17))
            answer = sock.recv(65536)
            assert len(answer) < size
            assert not answer[0] & 0x80
            tokens.add(answer[-16:])
        assert len(tokens) == 1
        sock.send(b"\x40" + os.urandom(80))
        assert sock.recv(65536)[-16:] not in tokens
    assert lb.open_connections == 0


def test_a_client_whose_connection_has_gone_is_told(lb: Edge) -> None:
    with http3(lb.address) as h3:
        assert h3.ask().status == 200
        engine: Any = lb.proxy._plane
        h3.lost = lambda datagram: True
        lb._loop.call_soon_threadsafe(engine.cut, "web")
        eventually(lambda: lb.open_connections == 0, "the end")
        h3.settle()  # the word of it is lost
        h3.lost = lambda datagram: False
        h3.open()
        h3.until(lambda: h3.was_reset)


def test_at_most_three_times_as_much_goes_to_an_address_that_is_not_known(lb: Edge) -> None:
    packet = first_packet(lb.address)
    with raw(lb) as sock:
        sock.send(packet)
        received = len(sock.recv(65536))
        sock.settimeout(2.0)
        with contextlib.suppress(TimeoutError):
            while True:
                received += len(sock.recv(65536))
    assert received <= 3 * len(packet)


def test_a_first_packet_that_comes_again_begins_nothing_new(lb: Edge) -> None:
    packet = first_packet(lb.address)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(raw(lb)) for _ in range(20)]
        for sock in socks:
            sock.send(packet)
        eventually(lambda: lb.open_connections == 1, "the connections")
        lb.settle()
        assert lb.open_connections == 1
        for sock in socks[1:]:  # other addresses get nothing
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(65536)


def test_under_load_a_client_has_to_show_its_address(lb: Edge) -> None:
    lb.drive()  # no handshake runs out of time
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(raw(lb))
        for _ in range(400):
            sock.send(first_packet(lb.address))
            lb.settle()
        assert lb.open_connections == 128
        h3 = stack.enter_context(http3(lb.address))
        assert h3.ask().status == 200
        assert h3.quic._retry_count == 1
        assert lb.open_connections == 129
        packet = initial()[0]
        forged = packet[:23] + b"\x40\x40" + b"\xb7" + os.urandom(63) + packet[25 + 64 :]
        other = stack.enter_context(raw(lb))
        other.send(forged)
        answer = other.recv(65536)
        assert answer[0] & 0x80 and len(answer) < 400
        assert lb.open_connections == 129


def test_a_client_that_does_not_end_its_handshake_is_dropped(lb: Edge) -> None:
    with raw(lb) as sock:
        sock.send(first_packet(lb.address))
        eventually(lambda: lb.open_connections == 1, "the connections")
        eventually(lambda: lb.open_connections == 0, "the end of the handshake")
    assert is_well(lb)


# Clients


def test_resets_without_end_end_the_connection(lb: Edge) -> None:
    with http3(lb.address) as h3:
        for _ in range(2000):
            stream = h3.open("GET", "/")
            h3.quic.stop_stream(stream, 0x10C)
            h3.turn(0.0)
            if h3.terminated is not None:
                break
        h3.until(lambda: h3.terminated is not None)
        assert h3.terminated is not None
        assert h3.terminated.error_code == EXCESSIVE_LOAD
    assert is_well(lb)


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        ("bidi", b"\x00\x05hello"),  # DATA before HEADERS
        ("bidi", b"\x01\x04\xff\xff\xff\xff"),  # fields that cannot be decoded
        ("bidi", b"\x04\x00"),  # SETTINGS on a request
        ("bidi", b"\x02\x00"),  # a frame of HTTP/2
        ("uni", b"\x01\x00"),  # a push by a client
        ("uni", b"\x00\x04\x00"),  # a second stream of control
        ("control", b"\x04\x00"),  # SETTINGS twice
        ("control", b"\x00\x00"),  # DATA there
        ("control", b"\x0d\x01\x00"),  # a MAX_PUSH_ID below the one before
    ],
)
def test_frames_out_of_place_end_the_connection_and_nothing_else(lb: Edge, stream: str, data: bytes) -> None:
    with http3(lb.address) as h3:
        h3.handshake()
        if stream == "control":
            number = h3.http._local_control_stream_id
            assert number is not None
        else:
            number = h3.quic.get_next_available_stream_id(is_unidirectional=stream == "uni")
        h3.quic.send_stream_data(number, data, end_stream=False)
        h3.flush()
        h3.until(lambda: h3.terminated is not None)
        assert h3.terminated is not None
        assert h3.terminated.error_code >= 0x100
    assert is_well(lb)


def test_what_nobody_knows_is_passed_over(lb: Edge) -> None:
    """GREASE: streams, frames and settings of reserved kinds (RFC 9114 section 7.2.8)."""
    with http3(lb.address) as h3:
        h3.handshake()
        for kind in (0x21, 0x21 + 0x1F, 0x21 + 0x1F * 1000):
            number = h3.quic.get_next_available_stream_id(is_unidirectional=True)
            h3.quic.send_stream_data(number, encode_uint_var(kind) + os.urandom(200), end_stream=True)
        control = h3.http._local_control_stream_id
        assert control is not None
        h3.quic.send_stream_data(control, encode_uint_var(0x21 + 0x1F * 7) + b"\x03abc")
        assert h3.ask().status == 200


def test_a_head_that_never_ends_is_given_up(files: Files) -> None:
    with serving() as server:
        dynamic = config_for(server.url)
        dynamic["http"]["routers"]["all"]["tls"] = {}
        timeouts = {"respondingTimeouts": {"headerTimeout": "1s"}}
        more = {**dynamic, "tls": {"certificates": [files.entry]}}
        with edge(more, http3={}, transport=timeouts) as lb, http3(lb.address) as h3:
            h3.handshake()
            number = h3.quic.get_next_available_stream_id()
            h3.quic.send_stream_data(number, b"\x01\x40\x80\x00\x00")
            h3.until(lambda: h3.answer_of(number).reset is not None)
            assert h3.ask().status == 200


def test_a_body_that_stalls_is_given_up(files: Files) -> None:
    with serving() as server:
        dynamic = config_for(server.url)
        dynamic["http"]["routers"]["all"]["tls"] = {}
        timeouts = {"respondingTimeouts": {"readTimeout": "1s"}}
        more = {**dynamic, "tls": {"certificates": [files.entry]}}
        with edge(more, http3={}, transport=timeouts) as lb, http3(lb.address) as h3:
            stream = h3.open("POST", "/", end=False)
            h3.data(stream, b"abc")
            answer = h3.answer(stream)
            assert answer.status == 408


def test_more_streams_than_allowed(files: Files) -> None:
    may_answer = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        may_answer.wait(30)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serving(script) as server:
        dynamic = config_for(server.url)
        dynamic["http"]["routers"]["all"]["tls"] = {}
        more = {**dynamic, "tls": {"certificates": [files.entry]}}
        with edge(more, http3={}, http2={"maxConcurrentStreams": 5}) as lb, http3(lb.address) as h3:
            streams = [h3.open("GET", f"/{number}") for number in range(12)]
            h3.until(lambda: server.connections == 5)
            for _ in range(10):
                h3.turn()
            assert server.connections == 5
            may_answer.set()
            assert [h3.answer(stream).body for stream in streams] == [b"ok"] * 12
