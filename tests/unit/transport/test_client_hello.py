"""Parsing a ClientHello: every prefix of a real one is partial, records have any size, garbage is recognised."""

from __future__ import annotations

import os
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.transport.client_hello import described
from tests.support.tls import trusting

WHOLE, PARTIAL, BAD = 0, -1, -2


def hello(name: str | None = "shop.test", protocols: tuple[str, ...] = ()) -> bytes:
    context = trusting()
    if protocols:
        context.set_alpn_protocols(list(protocols))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def in_records(data: bytes, size: int) -> bytes:
    """The same message in records of so many bytes."""
    message = data[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def test_the_name_and_the_protocols() -> None:
    assert described(hello("Shop.Test", ("h2", "http/1.1"))) == (WHOLE, b"shop.test", b"\x02h2\x08http/1.1")
    assert described(hello(None)) == (WHOLE, b"", b"")
    assert described(hello() + b"more") == (WHOLE, b"shop.test", b"")


def test_every_cut_is_partial() -> None:
    data = hello()
    assert {described(data[:length])[0] for length in range(1, len(data))} == {PARTIAL}
    split = in_records(data, 7)
    assert {described(split[:length])[0] for length in range(1, len(split))} == {PARTIAL}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100, 511])
def test_records_of_any_size(size: int) -> None:
    data = in_records(hello("shop.test", ("h2",)), size)
    assert described(data) == (WHOLE, b"shop.test", b"\x02h2")


@pytest.mark.parametrize(
    "data",
    [
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\x00\xff\xff",
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
        b"\x16\x03\x01\x40\x00" + b"\x01\x00\x3f\xff" + b"x" * 100,
        b"\x16\x03\x01\x00\x02\x01\x00" + b"GET / HTTP/1.1",
    ],
)
def test_nonsense(data: bytes) -> None:
    assert described(data) == (BAD, b"", b"")


def test_a_client_hello_over_the_limit_is_refused_before_it_is_complete() -> None:
    assert described(b"\x16\x03\x01\x40\x00\x01\x00\x40\x00")[0] == BAD
    first = b"\x16\x03\x01\x30\x00" + b"\x01\x00\x3f\x00" + bytes(0x3000 - 4)
    assert described(first + b"\x16\x03\x01\x05\x00")[0] == PARTIAL
    assert described(first + b"\x16\x03\x01\x20\x00")[0] == BAD


def test_a_name_that_is_too_long_is_none() -> None:
    data = bytearray(hello("a" * 60 + ".test"))
    at = data.find(b"a" * 60)
    data[at - 2 : at] = b"\xff\xff"
    assert described(bytes(data))[0] == BAD


@given(st.data())
def test_flipped_bytes_end_in_one_of_three_ways(data: st.DataObject) -> None:
    changed = bytearray(HELLO)
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    state, name, _ = described(bytes(changed))
    assert state in (WHOLE, PARTIAL, BAD)
    assert len(name) <= 255


@given(st.binary(max_size=200))
def test_anything_behind_the_head_of_a_record(tail: bytes) -> None:
    assert described(b"\x16\x03\x01" + len(tail).to_bytes(2, "big") + tail)[0] in (WHOLE, PARTIAL, BAD)
    message = b"\x01" + len(tail).to_bytes(3, "big") + tail
    assert described(b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message)[0] in (WHOLE, BAD)


HELLO = hello("shop.test", ("h2", "http/1.1")) + os.urandom(8)
