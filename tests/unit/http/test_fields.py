"""Fields of HTTP/2 and HTTP/3 become lines of HTTP/1 only if they are read as the same fields."""

import pytest

from tests.support.native import native

NAME_BYTES = frozenset(range(0x21, 0x7F)) - frozenset(b":ABCDEFGHIJKLMNOPQRSTUVWXYZ")
NO_VALUE_BYTES = frozenset(b"\0\r\n")


def variants(text: bytes, place: int) -> list[bytes]:
    """With every byte at a place; its number is the index."""
    return [text[:place] + bytes([byte]) + text[place + 1 :] for byte in range(256)]


@pytest.mark.parametrize("place", [0, 1, 20])
def test_only_lower_case_without_controls_is_a_name(place: int) -> None:
    takes = native("fields").takes
    names = variants(b"x-name-of-some-length", place)
    assert {byte for byte, name in enumerate(names) if takes(name, b"a")} == NAME_BYTES
    assert not takes(b"", b"a")


@pytest.mark.parametrize(("place", "length"), [(0, 1), (0, 48), (47, 48), (0, 49), (48, 49), (1000, 2000)])
def test_a_value_has_no_end_of_a_line(place: int, length: int) -> None:
    takes = native("fields").takes
    values = variants(b"v" * length, place)
    assert {byte for byte, value in enumerate(values) if not takes(b"x-a", value)} == NO_VALUE_BYTES
    assert takes(b"x-a", b"")


def test_what_a_value_has_between_words_of_eight_bytes_is_found() -> None:
    takes = native("fields").takes
    for length in range(1, 26):
        for place in range(length):
            value = bytearray(b"a \t\xff\x80\x7f!~" * 4)[:length]
            assert takes(b"x-a", bytes(value))
            for byte in NO_VALUE_BYTES:
                value[place] = byte
                assert not takes(b"x-a", bytes(value))


LINES = [
    b"GET / HTTP/1.1\r\nHost: a.example:8080\r\nUser-Agent: Test/1\r\nAccept: */*\r\nX-Lines: 1\r\nX-Lines: 2\r\n",
    b"GET /a/b?c=d%20e HTTP/1.1\r\nHost: a\r\nCookie: a=b; c\r\nX-Forwarded-For: 6::6\r\nX-Forwarded-For: 7::7\r\n",
    b"GET /a/../b? HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Real-Ip: 6.6.6.6\r\nX-Forwarded-For:\r\n",
    b"GET http://b.example/a?b HTTP/1.1\r\nHost: b.example\r\nConnection: X-Listed\r\nX-Listed: 1\r\nX-Other: 2\r\n",
    b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\nExpect: 100-continue\r\n",
    b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\nTE: trailers\r\nConnection: TE\r\n",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGVzdA==\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nKeep-Alive: 5\r\nProxy-Connection: \r\nProxy-Authorization: y\r\n",
    b"GET / HTTP/1.0\r\n",
]
OWN: list[tuple[tuple[bytes, bytes], ...]] = [
    (),
    ((b"X-Forwarded-For", b""), (b"X-Forwarded-Proto", b"wss"), (b"X-Own", b" spaced\t"), (b"User-Agent", b"")),
    ((b"X-Forwarded-For", b"5.5.5.5"), (b"Host", b"own.example"), (b"TE", b"gzip"), (b"Connection", b"close")),
    ((b"Keep-Alive", b"1"), (b"Upgrade", b"h2c"), (b"Proxy-Authorization", b"own"), (b"X-Real-Ip", b"")),
]


def fields_of(head: bytes, encrypted: bool, websocket: bool) -> list[tuple[bytes, bytes]]:
    """What the lines of a request say in HTTP/2 (RFC 9113 section 8)."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    method, path, _ = first.split(b" ")
    fields = [(b":method", method)] if not websocket else [(b":method", b"CONNECT"), (b":protocol", b"websocket")]
    fields += [(b":scheme", b"https" if encrypted else b"http"), (b":path", path)]
    te = False
    for name, _, value in (line.partition(b":") for line in lines):
        lower = name.lower()
        if lower == b"host":
            fields.append((b":authority", value.strip()))
        elif lower == b"te":
            te = True
        elif lower in (b"connection", b"upgrade", b"transfer-encoding", b"keep-alive", b"proxy-connection"):
            continue
        elif not (websocket and lower == b"sec-websocket-key"):
            fields.append((lower, value.strip(b" \t")))
    return fields + [(b"te", b"trailers")] * te


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("lines", LINES)
def test_a_request_has_the_same_fields_as_lines(lines: bytes, own: tuple[tuple[bytes, bytes], ...]) -> None:
    """A server of HTTP/2 gets what one of HTTP/1 gets. The order of fields of different names means nothing."""
    for bits in range(32):
        trusted, append_for, encrypted, pass_host, websocket = (bool(bits >> i & 1) for i in range(5))
        for client, prefix in ((b"192.0.2.1", b""), (b"", b"/base")):
            head, fields = native("fields").translate(
                lines + b"\r\n", own, trusted=trusted, append_for=append_for, encrypted=encrypted, pass_host=pass_host,
                client=client, prefix=prefix, websocket=websocket,
            )  # fmt: skip
            assert sorted(fields) == sorted(fields_of(head, encrypted, websocket))
            assert [value for name, value in fields if name == b"x-lines"] == [b"1", b"2"] * (lines is LINES[0])
            pseudo = [name.startswith(b":") for name, _ in fields]
            assert pseudo == sorted(pseudo, reverse=True)


def test_trailers_are_sent_as_they_came_less_what_may_not_stand_there() -> None:
    packed = native("fields").packed
    lines = [(b"grpc-status", b"0"), (b"x-empty", b""), (b"x-a", b"1"), (b"x-a", b"2")]
    assert packed(lines) == lines
    assert packed([(b"content-length", b"5"), *lines, (b"x-forwarded-for", b"6.6.6.6"), (b"te", b"a")]) == lines
    assert packed([(b"host", b"a")]) == []
    assert packed([]) == []
