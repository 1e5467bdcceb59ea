"""Request heads: what is read, what is refused, whole and in pieces."""

from ipaddress import IPv6Address

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
        *(
            (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %b\r\n\r\n" % coding)
            for coding in (
                b"",
                b",",
                b"chunked,",
                b",chunked",
                b", chunked",
                b"chunked, chunked",
                b"chunked;a=b",
                b"identity",
            )
        ),
        (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        *(
            (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: %b\r\n\r\nabc" % coding)
            for coding in (b"", b",", b"chunked,", b"identity")
        ),
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
def test_request_any_bytes_give_one_outcome_however_they_are_split(noise: bytes, cut: int) -> None:
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


def test_request_options_for_all_of_a_server_in_absolute_form() -> None:
    head = parse(b"OPTIONS http://b.example HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (head["host"], head["path"]) == (b"b.example", b"*")
    assert parse(b"OPTIONS http://b.example/ HTTP/1.1\r\nHost: a\r\n\r\n")["path"] == b"/"


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


@pytest.mark.parametrize(
    ("field", "host"),
    [
        ("a.test", "a.test"),
        ("A.Test.:80", "a.test"),
        ("a:", "a"),
        ("a:65535", "a"),
        ("a_b", "a_b"),
        ("a%41!$&'()*+;=~", "a%41!$&'()*+;=~"),
        ("1.2.3.256", "1.2.3.256"),
        ("[2001:DB8::1]:8080", "2001:db8::1"),
        ("[::]", "::"),
        ("[::1]", "::1"),
        ("[1::]", "1::"),
        ("[1:2:3:4:5:6:7::]", "1:2:3:4:5:6:7::"),
        ("[1:2:3:4:5:6:7:8]", "1:2:3:4:5:6:7:8"),
        ("[::ffff:1.2.3.4]", "::ffff:1.2.3.4"),
        ("[1:2:3:4:5:6:1.2.3.4]", "1:2:3:4:5:6:1.2.3.4"),
        ("[v1.a:b]", "v1.a:b"),
        ("", ""),
    ],
)
def test_request_host_is_read_as_rfc_3986_has_it(field: str, host: str) -> None:
    assert parse(f"GET / HTTP/1.1\r\nHost: {field}\r\n\r\n".encode())["host"] == host.encode()


@pytest.mark.parametrize(
    "field",
    ["a[b", "a]b", "[zz]", "[]", "[", "]", "[1]", "[:1]", "[1:]", "[:::]", "[1::2::3]", "[1:2:3:4:5:6:7:8:9]",
     "[1:2:3:4:5:6:7:8::]", "[12345::]", "[::1.2.3]", "[::1.2.3.256]", "[::01.2.3.4]",
     "[1:2:3:4:5:6:7:1.2.3.4]", "[::1%25eth0]", "[1.2.3.4]", "[v.a]", "[v1.]", "[v1]", "[va]", "[::1]a",
     "[::1]:a", "::1", "a:b:c", "a:65536", "a:-1", ":80", ":", "a%", "a%4", "a%zz", "a%4g", "a|b", "a\"b",
     "a<b", "a\\b", "a^b", "a`b", "a{b", "a?b", "a#b", "a/b", "a@b", "a,b", "ä"],
)
def test_request_host_that_is_none_is_refused(field: str) -> None:
    for wire in (f"GET / HTTP/1.1\r\nHost: {field}\r\n\r\n", f"GET / HTTP/1.0\r\nHost: {field}\r\n\r\n"):
        assert Request().parse_bytes(wire.encode()) == -400
    if not set(field) & set("/?"):
        assert Request().parse_bytes(f"GET http://{field}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode()) == -400


@given(st.ip_addresses(v=6))
def test_request_every_ipv6_address_is_a_host(address: IPv6Address) -> None:
    for text in (str(address), address.exploded):
        assert parse(f"GET / HTTP/1.1\r\nHost: [{text}]:1\r\n\r\n".encode())["host"] == text.encode()


@given(st.text("0123456789abcdef:.", max_size=24))
def test_request_what_is_no_ipv6_address_is_no_host(text: str) -> None:
    try:
        IPv6Address(text)
        expected = True
    except ValueError:
        expected = False
    assert (Request().parse_bytes(f"GET / HTTP/1.1\r\nHost: [{text}]\r\n\r\n".encode()) > 0) is expected


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/?a=\xff\xc3\xa9", b"/", b"a=%FF%C3%A9"),
        (b"/\x80?\x80", b"/%80", b"%80"),
        (b"http://a/\xfe?\xfe;b", b"/%FE", b"%FE&b"),
        (b"/?[]{}|\"<>^`'\\%zz", b"/", b"[]{}|\"<>^`'\\%zz"),
    ],
)
def test_request_target_goes_on_in_ascii(target: bytes, path: bytes, query: bytes) -> None:
    head = parse(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (head["path"], head["query"]) == (path, query)


def test_request_length_is_written_without_leading_zeros() -> None:
    head = parse(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 010\r\n\r\n")
    assert (head["length"], head["headers"][1]) == (10, (b"Content-Length", b"10"))
    assert parse(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 000\r\n\r\n")["headers"][1] == (
        b"Content-Length",
        b"0",
    )


@pytest.mark.parametrize(("sent", "goes_on"), [(b"3", b"2"), (b"010", b"9"), (b"x", b"x"), (b"-1", b"-1")])
def test_request_hops_left_are_counted_down(sent: bytes, goes_on: bytes) -> None:
    for method in (b"TRACE", b"OPTIONS"):
        head = parse(method + b" / HTTP/1.1\r\nHost: a\r\nMax-Forwards: " + sent + b"\r\n\r\n")
        assert head["headers"][1] == (b"Max-Forwards", goes_on)
    assert parse(b"GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n")["headers"][1] == (b"Max-Forwards", b"3")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/%41%7e%2d", b"/A~-"),
        (b"/%2e%2e/x", b"/../x"),
        (b"/a/../b//c/./d%2f", b"/a/../b//c/./d%2F"),
        (b"/\\{}", b"/%5C%7B%7D"),
    ],
)
def test_request_path_that_is_not_to_be_sanitised_keeps_its_segments_only(target: bytes, path: bytes) -> None:
    request = Request()
    assert request.parse_bytes(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n", sanitise=False) > 0
    assert request.describe()["path"] == path
