"""The PROXY protocol's header: what is one, what is none, and what only looks like one."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.transport.proxy_protocol import BAD, NONE, PARTIAL, parse, render

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
ENDS4 = ("192.0.2.7", 4711, "198.51.100.1", 443)
ENDS6 = ("2001:db8::7", 4711, "2001:db8::1", 443)


def v2(command: int = 0x21, family: int = 0x11, block: bytes = b"", size: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(block) if size is None else size) + block


def block4(source: str = ENDS4[0], source_port: int = ENDS4[1]) -> bytes:
    return socket.inet_aton(source) + socket.inet_aton(ENDS4[2]) + struct.pack("!HH", source_port, ENDS4[3])


def block6(source: str = ENDS6[0]) -> bytes:
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, ENDS6[2])
    return ends + struct.pack("!HH", ENDS6[1], ENDS6[3])


V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
V1_IPV6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n"
TLVS = b"\x03\x00\x04abcd\x20\x00\x05\x01\x00\x00\x00\x00"
GOOD: dict[bytes, tuple[str, int, str, int] | None] = {
    V1: ENDS4,
    V1_IPV6: ENDS6,
    b"PROXY TCP4 1.2.3.4 5.6.7.8 0 65535\r\n": ("1.2.3.4", 0, "5.6.7.8", 65535),
    b"PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n": ("1.2.3.4", 1, "::1", 2),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n": None,
    v2(block=block4()): ENDS4,
    v2(block=block4() + TLVS): ENDS4,
    v2(block=block4() + bytes(16384 - 12)): ENDS4,
    v2(family=0x21, block=block6()): ENDS6,
    v2(family=0x21, block=block6("::ffff:9.8.7.6")): ("9.8.7.6", 4711, "2001:db8::1", 443),
    v2(family=0x21, block=block6() + TLVS): ENDS6,
    v2(0x20, 0x00): None,
    v2(0x20, 0x11, block4()): None,
    v2(0x20, 0xFF, b"anything"): None,
    v2(family=0x00): None,
    v2(family=0x00, block=TLVS): None,
    v2(family=0x12, block=block4()): None,
    v2(family=0x31, block=bytes(216)): None,
}
BROKEN = [
    b"PROXY \r\n",
    b"PROXY\x20TCP4\r\n",
    b"PROXY TCP5 192.0.2.7 198.51.100.1 4711 443\r\n",
    b"PROXY UDP4 192.0.2.7 198.51.100.1 4711 443\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 443\r\n",
    b"PROXY TCP6 192.0.2.7 198.51.100.1 4711 443\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n",
    b"PROXY TCP4  192.0.2.7 198.51.100.1 4711 443\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443 \r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 65536\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 99999\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 043\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 -1\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 \r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
    b"PROXY TCP4 192.0.2.7\x00 198.51.100.1 4711 443\r\n",
    b"PROXY TCP4 192.0.2 198.51.100.1 4711 443\r\n",
    b"PROXY TCP4 host.test 198.51.100.1 4711 443\r\n",
    b"PROXY TCP6 " + b"1" * 60 + b" ::1 4711 443\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443" + b" " * 80,
    b"PROXY UNKNOWN " + b"x" * 93,
    v2(0x11, block=block4()),
    v2(0x22, block=block4()),
    v2(0x2F, block=block4()),
    v2(family=0x41, block=block4()),
    v2(family=0x13, block=block4()),
    v2(family=0x11, block=block4()[:-1]),
    v2(family=0x21, block=block4()),
    v2(family=0x31, block=bytes(215)),
    v2(size=16385),
    v2(0x20, 0x00, size=65535),
]


@pytest.mark.parametrize("header", GOOD)
def test_a_header_is_read_to_its_end_and_not_further(header: bytes) -> None:
    for behind in (b"", b"GET / HTTP/1.1\r\n\r\n", header):
        assert parse(header + behind) == (len(header), GOOD[header])


@pytest.mark.parametrize("header", GOOD)
def test_every_part_of_a_header_is_incomplete(header: bytes) -> None:
    assert {parse(header[:length])[0] for length in range(len(header))} == {PARTIAL}


@pytest.mark.parametrize("header", BROKEN)
def test_what_begins_like_a_header_and_is_none(header: bytes) -> None:
    assert parse(header)[0] == BAD
    # Seen in parts it is bad at some point, and never something else.
    assert {parse(header[:length])[0] for length in range(len(header))} <= {PARTIAL, BAD}


@pytest.mark.parametrize(
    "data", [b"G", b"GET / HTTP/1.1", b"PROXYING", b"POST", b"\r\nGET", b"\x16\x03\x01", SIGNATURE[:11] + b"\r"]
)
def test_what_is_no_header(data: bytes) -> None:
    assert parse(data) == (NONE, None)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21"]))
def test_any_bytes_have_one_reading(data: bytes, begin: bytes) -> None:
    data = begin + data
    taken, ends = parse(data)
    assert BAD <= taken <= len(data)
    if taken > 0:
        # Nothing behind it changes it, and no part of it is a header by itself.
        assert parse(data[:taken] + b"more") == (taken, ends)
        assert parse(data[: taken - 1])[0] == PARTIAL


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("ends", [ENDS4, ENDS6, ("192.0.2.7", 1, "2001:db8::1", 2), ("2001:db8::7", 1, "192.0.2.7", 2)])
def test_what_is_written_is_read_again(version: int, ends: tuple[str, int, str, int]) -> None:
    header = render(version, ends[:2], ends[2:])
    assert parse(header) == (len(header), ends)
    assert parse(render(version, None, ends[2:]))[1] is None
