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


GREASE = (b"\x0a\x0a", b"\xfa\xfa")  # RFC 8701: values that mean nothing


def extension(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(2, "big") + content


def encrypted_hello(length: int = 250) -> bytes:
    """The extension of Encrypted ClientHello in an outer hello: suite, configuration, key, encrypted inner hello."""
    key, inner = os.urandom(32), os.urandom(length)
    return extension(
        b"\xfe\x0d",
        b"\x00" + b"\x00\x01\x00\x01" + b"\x2a" + b"".join(len(x).to_bytes(2, "big") + x for x in (key, inner)),
    )


def with_more(data: bytes, before: bytes = b"", after: bytes = b"", suites: bytes = b"") -> bytes:
    """A hello with more extensions in front of, and behind, its own, and with more cipher suites; in one record."""
    at = 5 + 4 + 2 + 32
    at += 1 + data[at]
    length = int.from_bytes(data[at : at + 2], "big")
    listed = suites + data[at + 2 : at + 2 + length]
    head = data[9:at] + len(listed).to_bytes(2, "big") + listed
    at += 2 + length
    head += data[at : at + 1 + data[at]]
    at += 1 + data[at]
    extensions = before + data[at + 2 :] + after
    body = head + len(extensions).to_bytes(2, "big") + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


def with_grease(data: bytes) -> bytes:
    """A hello as Chromium sends it: with values that mean nothing among suites and extensions, empty and not."""
    return with_more(data, extension(GREASE[0], b""), extension(GREASE[1], b"\x00"), GREASE[0])


def in_records(data: bytes, size: int) -> bytes:
    """The same message in records of so many bytes."""
    message = data[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def test_the_name_and_the_protocols() -> None:
    assert described(hello("Shop.Test", ("h2", "http/1.1"))) == (WHOLE, b"shop.test", b"\x02h2\x08http/1.1")
    assert described(hello(None)) == (WHOLE, b"", b"")
    assert described(hello() + b"more") == (WHOLE, b"shop.test", b"")


def test_grease_and_unknown_extensions_are_passed_over() -> None:
    data = hello("shop.test", ("h2",))
    assert described(with_grease(data)) == (WHOLE, b"shop.test", b"\x02h2")
    many = b"".join(extension(bytes((number, number)), os.urandom(number)) for number in range(0x1A, 0xFA, 0x10))
    assert described(with_more(data, many, many)) == (WHOLE, b"shop.test", b"\x02h2")
    cut = in_records(with_grease(data), 7)
    assert {described(cut[:length])[0] for length in range(1, len(cut))} == {PARTIAL}
    assert described(cut) == (WHOLE, b"shop.test", b"\x02h2")


@pytest.mark.parametrize("length", [16, 250, 4000, 12000])
def test_with_encrypted_client_hello_the_outer_name_counts(length: int) -> None:
    data = hello("public.test", ("h2", "http/1.1"))
    for outer in (with_more(data, encrypted_hello(length)), with_more(with_grease(data), b"", encrypted_hello(length))):
        assert described(outer) == (WHOLE, b"public.test", b"\x02h2\x08http/1.1")
        assert described(in_records(outer, 511)) == (WHOLE, b"public.test", b"\x02h2\x08http/1.1")


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
