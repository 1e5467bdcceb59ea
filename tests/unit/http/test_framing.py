"""Where bodies end: chunked coding in any split, and the framing of answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.http.framing import decode_chunked
from lbcore.http.response import Response

NONE, LENGTH, CHUNKED, UNTIL_CLOSE = range(4)
WIRE = b"5;name=value\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\nNEXT"


def test_chunked_whole_and_split_anywhere_reads_the_same() -> None:
    assert decode_chunked([WIRE]) == (b"hello0123456789", b"\r\nNEXT")
    for cut in range(1, len(WIRE)):
        assert decode_chunked([WIRE[:cut], WIRE[cut:]]) == (b"hello0123456789", b"\r\nNEXT")
    assert decode_chunked([WIRE[i : i + 1] for i in range(len(WIRE))]) == (b"hello0123456789", b"\r\nNEXT")


def test_chunked_every_prefix_before_the_last_chunk_is_incomplete() -> None:
    end = WIRE.index(b"\r\nNEXT")
    for cut in range(end):
        assert decode_chunked([WIRE[:cut]])[1] is None


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.integers(1, 7))
def test_chunked_body_is_what_was_encoded(chunks: list[bytes], step: int) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    pieces = [wire[i : i + step] for i in range(0, len(wire), step)]
    assert decode_chunked(pieces) == (b"".join(chunks), b"\r\n")


@pytest.mark.parametrize(
    "wire",
    [
        b"5\nhello\r\n",
        b"5\r\nhello\n",
        b"5\r\nhelloX\r\n",
        b" 5\r\nhello\r\n",
        b"\t5\r\nhello\r\n",
        b"5 5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"-1\r\n",
        b"\r\n",
        b";a\r\n",
        b"5\r\r\nhello\r\n",
        b"5;a\nb\r\nhello\r\n",
        b"5;a\x00b\r\nhello\r\n",
        b"8000000000000000\r\n",
        b"fffffffffffffff5\r\n",
        b"00000000000000005\r\nhello\r\n",
        b"5;\r\nhello\r\n",
        b"5; \r\nhello\r\n",
        b"5;;a\r\nhello\r\n",
        b"5;a=\r\nhello\r\n",
        b"5;=b\r\nhello\r\n",
        b'5;a="\r\nhello\r\n',
        b'5;a="\\\r\nhello\r\n',
        b'5;a="b"c\r\nhello\r\n',
        b'5;a=b"c"\r\nhello\r\n',
        b"5;a b\r\nhello\r\n",
        b"5;a=b c\r\nhello\r\n",
        b'5;"a"\r\nhello\r\n',
        b"5,a\r\nhello\r\n",
        b"5" + b" " * 20000 + b"\r\nhello\r\n",
        b"5;" + b"a" * 20000 + b"\r\nhello\r\n",
    ],
)
def test_chunked_anything_ambiguous_is_refused(wire: bytes) -> None:
    splits = [[wire[:cut], wire[cut:]] for cut in range(1, min(len(wire), 64))]
    for pieces in ([wire], [wire + b"5\r\nhello\r\n"], *splits):
        with pytest.raises(ValueError, match="bad chunk framing"):
            decode_chunked(pieces)


@pytest.mark.parametrize(
    "line",
    [
        b"5 ",
        b"5 \t ",
        b"5;a",
        b"5;a=b",
        b"5 ;a=b",
        b"5; a = b ;c",
        b'5;a="b;c\\"\xff\t";d ',
        b'5;a=""',
        b"0000000000000005",
    ],
)
def test_chunked_size_line_as_the_grammar_has_it(line: bytes) -> None:
    wire = line + b"\r\nhello\r\n0 \r\n\r\n"
    for cut in range(len(wire)):
        assert decode_chunked([wire[:cut], wire[cut:]]) == (b"hello", b"\r\n")


@pytest.mark.parametrize(
    ("wire", "head_request", "body", "length", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", False, LENGTH, 5, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", False, NONE, 0, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", True, NONE, 0, True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False, NONE, 0, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", False, NONE, 0, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", False, CHUNKED, 0, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", False, CHUNKED, 0, False),
        (b"HTTP/1.1 200 OK\r\n\r\n", False, UNTIL_CLOSE, 0, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", False, LENGTH, 5, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", False, LENGTH, 5, False),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", False, NONE, 0, False),
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", False, NONE, 0, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", True, NONE, 0, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 010\r\n\r\n", False, LENGTH, 10, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n", False, CHUNKED, 0, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", False, CHUNKED, 0, True),
    ],
)
def test_response_framing(wire: bytes, head_request: bool, body: int, length: int, keep_alive: bool) -> None:
    for trailing in (b"", b"rest", b"\r\n", wire):
        for cut in range(len(wire)):
            response, fed = Response(), wire + trailing
            assert response.parse_bytes(wire[:cut], head_request=head_request) == 0
            assert response.parse_bytes(fed, head_request=head_request) == len(wire)
            head = response.describe()
            assert (head["body"], head["length"], head["keep_alive"]) == (body, length, keep_alive)


@pytest.mark.parametrize(
    ("status", "wire"),
    [
        (502, b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        (502, b"HTTP/1.1 99 Low\r\n\r\n"),
        (502, b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n"),
        (502, b"HTTP/1.1 200 OK\r\nbad name : x\r\n\r\n"),
        (502, b"HTTP/1.1 200 OK\r\n : x\r\n\r\n"),
        (502, b"HTTP/1.1 200 OK\r\n folded\r\nX: a\r\n\r\n"),
        (502, b"HTTP/1.1 200 OK\r\nX : a\0\r\n\r\n"),
        (502, b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n"),
        *(
            (502, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: %b\r\n%b\r\n" % (coding, length))
            for coding in (b"", b",", b"chunked,", b",chunked", b"chunked, chunked", b"chunked;a", b"identity")
            for length in (b"", b"Content-Length: 3\r\n")
        ),
        (502, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (502, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        (502, b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
        (502, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ],
)
def test_response_broken_or_ambiguous_is_refused(status: int, wire: bytes) -> None:
    assert Response().parse_bytes(wire) == -status


@pytest.mark.parametrize(
    ("lines", "headers"),
    [
        (b"X-A : b\r\nX-B\t \t: c\r\n", [(b"X-A", b"b"), (b"X-B", b"c")]),
        (b"X-A: b\r\n c\r\nX-B: d\r\n", [(b"X-A", b"b c"), (b"X-B", b"d")]),
        (b"X-A:\r\n\t b\r\n  \r\n c:d\r\n", [(b"X-A", b"b c:d")]),
        (b"X-A : b\r\n c\r\n", [(b"X-A", b"b c")]),
        (b"X-A : b\n", [(b"X-A", b"b")]),
    ],
)
def test_response_sloppy_lines_are_mended(lines: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    wire = b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n"
    for cut in range(len(wire)):
        assert Response().parse_bytes(wire[:cut]) == 0
    response = Response()
    assert response.parse_bytes(wire + b"X : y\r\n\r\n") == len(wire)
    assert response.describe()["headers"] == headers
