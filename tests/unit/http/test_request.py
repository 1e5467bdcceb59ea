"""Request heads: what is read, what is refused, whole and in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.http.request import Request

GET = b"GET /a?b=c HTTP/1.1\r\nHost: Example.com:8080\r\nX-Foo: bar\r\n\r\n"


def parse(wire: bytes) -> dict:
    request = Request()
    used = request.parse_bytes(wire)
    assert used > 0, f"refused with {-used}: {wire!r}"
    return request.describe() | {"used": used}


def test_request_whole_head_is_read() -> None:
    head = parse(GET)
    assert head["used"] == len(GET)
    assert (head["method"], head["path"], head["query"]) == (b"GET", b"/a", b"b=c")
    assert (head["authority"], head["host"]) == (b"Example.com:8080", b"example.com")
    assert head["headers"] == [(b"Host", b"Example.com:8080"), (b"X-Foo", b"bar")]
    assert head["keep_alive"]


def test_request_every_prefix_is_partial_and_what_follows_is_left_alone() -> None:
    request = Request()
    for seen in range(len(GET)):
        assert request.parse_bytes(GET[:seen]) == 0
        assert request.parse_bytes(GET[:seen], seen=max(0, seen - 1)) == 0
    assert request.parse_bytes(GET + b"XX") == len(GET)


@pytest.mark.parametrize(
    ("status", "wire"),
    [
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\nHost: a\n\n"),
        (400, b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
        (400, b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (400, b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"),
        (417, b"POST / HTTP/1.1\r\nHost: a\r\nExpect: the-unexpected\r\n\r\n"),
        (501, b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 10001 + b"\r\n"),
    ],
)
def test_request_ambiguous_or_broken_is_refused(status: int, wire: bytes) -> None:
    assert Request().parse_bytes(wire) == -status
    assert Request().parse_bytes(wire + GET) == -status


@pytest.mark.parametrize(
    "wire",
    [
        GET,
        b"POST /x HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\nConnection: x\r\n\r\n",
        b"GET http://b.example:81/p?q HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%41/../b;c HTTP/1.0\r\n\r\n",
    ],
)
def test_request_split_anywhere_and_followed_by_anything_reads_the_same(wire: bytes) -> None:
    whole = parse(wire)
    for trailing in (b"", b"X", b"\r\n", b"\x00", GET):
        assert parse(wire + trailing) == whole
        for cut in range(1, len(wire)):
            request, fed = Request(), wire + trailing
            assert request.parse_bytes(wire[:cut]) == 0
            assert request.parse_bytes(fed, seen=cut) == len(wire)
            assert request.describe() | {"used": len(wire)} == whole


TOKEN = st.text("!#$%&'*+-.^_`|~019azAZ", min_size=1, max_size=12)
VALUE = st.text([chr(byte) for byte in range(33, 127)], max_size=20)
RESERVED = {"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te", "trailer"}


@given(
    TOKEN.filter(lambda method: method not in ("CONNECT", "OPTIONS")),
    st.lists(st.text("abz019-._~", min_size=1, max_size=6).filter(lambda part: part.strip(".")), max_size=4),
    st.lists(st.tuples(TOKEN.filter(lambda name: name.lower() not in RESERVED), VALUE), max_size=20),
    st.integers(0, 2000),
)
def test_request_what_was_written_is_what_is_read(
    method: str, parts: list[str], headers: list[tuple[str, str]], cut: int
) -> None:
    path = "/" + "/".join(parts)
    lines = [f"{method} {path} HTTP/1.1", "Host: a.test", *(f"{name}:\t{value} " for name, value in headers), "", ""]
    wire = "\r\n".join(lines).encode()
    request = Request()
    seen = cut % len(wire)
    assert request.parse_bytes(wire[:seen]) == 0
    assert request.parse_bytes(wire, seen=seen) == len(wire)
    head = request.describe()
    assert (head["method"], head["path"]) == (method.encode(), path.encode())
    written = [(name.encode(), value.strip().encode()) for name, value in headers]
    assert head["headers"] == [(b"Host", b"a.test"), *written]


@given(st.binary(max_size=400), st.integers(0, 400))
def test_request_any_bytes_give_one_outcome_however_they_come(noise: bytes, cut: int) -> None:
    wire = GET[:-2] + noise + b"\r\n\r\n"
    cut %= len(wire)
    request = Request()
    first = request.parse_bytes(wire[:cut])
    outcome = first if first else request.parse_bytes(wire, seen=cut)
    whole = Request().parse_bytes(wire)
    assert outcome == whole or (outcome < 0 and whole < 0)


def test_request_head_over_the_limit_is_431_before_it_is_complete() -> None:
    assert Request().parse_bytes(b"GET / HTTP/1.1\r\nX: " + b"a" * 5000, max_header_bytes=4096) == -431


def test_request_absolute_form_authority_wins_over_host() -> None:
    head = parse(b"GET http://b.example?q HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (head["host"], head["path"], head["query"]) == (b"b.example", b"/", b"q")


def test_request_equal_lengths_are_one_and_many_headers_fit() -> None:
    wire = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n" + b"X: y\r\n" * 200 + b"\r\n"
    head = parse(wire)
    assert (head["body"], head["length"], len(head["headers"])) == (1, 3, 203)


@pytest.mark.parametrize(
    ("wire", "keep_alive"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_request_keep_alive_follows_version_and_connection(wire: bytes, keep_alive: bool) -> None:
    assert parse(wire)["keep_alive"] is keep_alive
