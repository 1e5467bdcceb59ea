"""The heads that go out: what a server is sent, and what a client is sent."""

import time

import pytest

from lbcore.http.render import rewrite_request, rewrite_response
from lbcore.http.request import Request


def request(*lines: bytes, start: bytes = b"GET /p?q HTTP/1.1", host: bytes = b"Host: a.example:8080") -> bytes:
    return b"\r\n".join([start, *([host] if host else []), *lines, b"", b""])


def headers(head: bytes) -> list[tuple[bytes, bytes]]:
    assert head.endswith(b"\r\n\r\n")
    return [tuple(line.split(b": ", 1)) for line in head[:-4].split(b"\r\n")[1:]]  # type: ignore[misc]


def test_request_to_server_carries_forwarding_headers_and_the_rest_as_sent() -> None:
    head = rewrite_request(request(b"X-foo: 1", b"Cookie: a=b"))
    assert head.startswith(b"GET /p?q HTTP/1.1\r\n")
    assert headers(head) == [
        (b"Host", b"a.example:8080"),
        (b"X-foo", b"1"),
        (b"Cookie", b"a=b"),
        (b"X-Real-Ip", b"192.0.2.1"),
        (b"X-Forwarded-Proto", b"http"),
        (b"X-Forwarded-Port", b"8080"),
        (b"X-Forwarded-Host", b"a.example:8080"),
        (b"X-Forwarded-Server", b"edge"),
        (b"X-Forwarded-For", b"192.0.2.1"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        b"X-Forwarded-For",
        b"x_forwarded_for",
        b"X-Real-Ip",
        b"X_Real-IP",
        b"X-Forwarded-Uri",
        b"X.Forwarded.For",
        b"X-Real.Ip",
        b"x~forwarded!host",
        b"X.Forwarded_Tls-Client.Cert",
        b"Forwarded",
        b"forwarded",
    ],
)
def test_request_to_server_managed_header_of_an_untrusted_client_is_deleted_in_every_spelling(name: bytes) -> None:
    for extra in ([], [b"Connection: " + name]):
        assert b"6.6.6.6" not in rewrite_request(request(name + b": 6.6.6.6", *extra))


def test_request_to_server_trusted_client_is_appended_to_in_one_line() -> None:
    wire = request(
        b"X-Forwarded-For: 1.1.1.1", b"X-Forwarded-For: 2.2.2.2", b"X-Forwarded-Proto: https", b"X-Real-Ip: 1.1.1.1"
    )
    sent = headers(rewrite_request(wire, trusted=True))
    assert [value for name, value in sent if name == b"X-Forwarded-For"] == [b"1.1.1.1, 2.2.2.2, 192.0.2.1"]
    assert [value for name, value in sent if name == b"X-Forwarded-Proto"] == [b"https"]
    assert [value for name, value in sent if name == b"X-Real-Ip"] == [b"1.1.1.1"]
    kept = headers(rewrite_request(wire, trusted=True, append_for=False))
    assert (b"X-Forwarded-For", b"1.1.1.1, 2.2.2.2") in kept


def test_request_to_server_what_a_trusted_client_leaves_empty_is_filled_in() -> None:
    names = (b"X-Real-Ip", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Port")
    wire = request(*(name + b":" for name in names), b"X-Forwarded-Prefix:")
    sent = headers(rewrite_request(wire, trusted=True))
    expected = dict(headers(rewrite_request(request())))
    assert [value for name in names for key, value in sent if key == name] == [expected[name] for name in names]
    assert (b"X-Forwarded-Prefix", b"") in sent


def test_request_to_server_te_is_listed_in_connection_or_not_sent() -> None:
    for lines in ([b"TE: trailers"], [b"Connection: TE, close", b"TE: gzip, Trailers"]):
        assert b"\r\nConnection: TE\r\nTe: trailers\r\n" in rewrite_request(request(*lines))
    for lines in (
        [b"TE: gzip"],
        [b"TE: "],
        [b"Connection: TE"],
        [b"TE: trailers", b"Connection: Upgrade", b"Upgrade: x"],
    ):
        assert b"Te:" not in rewrite_request(request(*lines))


@pytest.mark.parametrize(("protocol", "scheme"), [(b"websocket", b"ws"), (b"WebSocket", b"ws"), (b"dtls", b"http")])
def test_request_to_server_an_upgrade_to_another_protocol_is_no_websocket(protocol: bytes, scheme: bytes) -> None:
    wire = request(b"Connection: Upgrade", b"Upgrade: " + protocol)
    assert (b"X-Forwarded-Proto", scheme) in headers(rewrite_request(wire))


def test_request_to_server_forwarded_of_a_trusted_client_goes_on() -> None:
    assert b"Forwarded: for=6.6.6.6\r\n" in rewrite_request(request(b"Forwarded: for=6.6.6.6"), trusted=True)


def test_request_to_server_an_empty_host_becomes_the_servers() -> None:
    assert b"\r\nHost: 10.0.0.1:80\r\n" in rewrite_request(request(host=b"Host:"))


def test_response_to_client_names_the_trailers_that_follow() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
    assert b"\r\nTrailer: X-T\r\n" in rewrite_response(chunked, chunked=True)
    assert b"Trailer" not in rewrite_response(chunked, client_version=0)
    assert b"Trailer" not in rewrite_response(b"HTTP/1.1 200 OK\r\nTrailer: X-T\r\n\r\n", chunked=True)


def test_response_to_client_length_is_written_without_leading_zeros() -> None:
    assert b"\r\nContent-Length: 10\r\n" in rewrite_response(b"HTTP/1.1 200 OK\r\nContent-Length: 0010\r\n\r\n")


def test_request_to_server_forwarded_for_survives_being_named_in_connection() -> None:
    assert b"X-Forwarded-For: 192.0.2.1\r\n" in rewrite_request(request(b"Connection: X-Forwarded-For, Host"))
    assert b"Host: a.example:8080\r\n" in rewrite_request(request(b"Connection: X-Forwarded-For, Host"))


def test_request_to_server_hop_by_hop_headers_are_dropped() -> None:
    wire = request(b"Connection: keep-alive, X-Secret", b"X-Secret: 1", b"Keep-Alive: 5", b"Proxy-Connection: x",
                   b"Proxy-Authorization: y", b"Te: trailers, gzip", b"Trailer: z", b"X-Kept: 1")  # fmt: skip
    sent = dict(headers(rewrite_request(wire)))
    assert {
        b"X-Secret",
        b"Keep-Alive",
        b"Proxy-Connection",
        b"Proxy-Authorization",
        b"Trailer",
    }.isdisjoint(sent)
    assert (sent[b"Connection"], sent[b"Te"]) == (b"TE", b"trailers")
    assert sent[b"X-Kept"] == b"1"


def test_request_to_server_has_the_servers_host_unless_the_clients_is_passed() -> None:
    assert b"\r\nHost: 10.0.0.1:80\r\n" in rewrite_request(request(), pass_host=False)
    bare = rewrite_request(b"GET / HTTP/1.0\r\n\r\n")
    assert b"\r\nHost: 10.0.0.1:80\r\n" in bare
    assert b"X-Forwarded-Host" not in bare


def test_request_to_server_port_and_proto_follow_the_connection() -> None:
    plain = dict(headers(rewrite_request(request(host=b"Host: a"))))
    assert (plain[b"X-Forwarded-Port"], plain[b"X-Forwarded-Proto"]) == (b"80", b"http")
    tls = dict(headers(rewrite_request(request(host=b"Host: [::1]"), encrypted=True)))
    assert (tls[b"X-Forwarded-Port"], tls[b"X-Forwarded-Proto"]) == (b"443", b"https")


def test_request_to_server_upgrade_is_passed_on_but_never_to_h2c() -> None:
    websocket = rewrite_request(request(b"Connection: Upgrade", b"Upgrade: websocket"))
    assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in websocket
    assert b"X-Forwarded-Proto: ws\r\n" in websocket
    for offer in (b"h2c", b"H2C", b"websocket, h2c"):
        h2c = rewrite_request(
            request(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + offer, b"HTTP2-Settings: x")
        )
        assert b"Upgrade" not in h2c
        assert b"HTTP2-Settings" not in h2c


def test_request_to_server_equal_lengths_become_one_and_chunked_stays_chunked() -> None:
    wire = request(b"Content-Length: 3", b"Content-Length: 3", start=b"POST / HTTP/1.1")
    assert rewrite_request(wire).count(b"Content-Length: 3\r\n") == 1
    chunked = rewrite_request(request(b"Transfer-Encoding: Chunked", start=b"POST / HTTP/1.1"))
    assert chunked.count(b"Transfer-Encoding: chunked\r\n") == 1
    assert b"Chunked" not in chunked


@pytest.mark.parametrize("name", [b"Content_Length", b"Transfer_Encoding", b"Connection_"])
def test_request_framing_is_never_taken_from_a_name_with_an_underscore(name: bytes) -> None:
    head = Request()
    wire = request(name + b": 5", start=b"POST / HTTP/1.1")
    assert head.parse_bytes(wire) == len(wire)
    assert head.describe()["body"] == 0


def test_request_to_server_is_read_back_as_it_was_routed() -> None:
    wire = request(b"X: 1", start=b"GET /a//b/%2e%2e/c?d HTTP/1.1")
    head = Request()
    sent = rewrite_request(wire)
    assert head.parse_bytes(sent) == len(sent)
    assert (head.describe()["path"], head.describe()["query"]) == (b"/a/c", b"d")
    assert rewrite_request(wire, prefix=b"/base").startswith(b"GET /base/a/c?d HTTP/1.1\r\n")


def test_response_to_client_keeps_end_to_end_headers_and_adds_a_date() -> None:
    head = rewrite_response(b"HTTP/1.1 200 Fine\r\nX-a: 1\r\nX-a: 2\r\nContent-Length: 2\r\nKeep-Alive: 5\r\n\r\n")
    assert head == b"HTTP/1.1 200 Fine\r\nX-a: 1\r\nX-a: 2\r\nContent-Length: 2\r\nDate: now\r\n\r\n"
    assert rewrite_response(b"HTTP/1.1 200 OK\r\nDate: then\r\n\r\n").count(b"Date") == 1


def test_response_to_client_framing_is_this_hops_own() -> None:
    chunked = rewrite_response(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n", chunked=True
    )
    assert chunked.count(b"Transfer-Encoding: chunked\r\n") == 1
    assert b"Content-Length" not in chunked
    closing = rewrite_response(b"HTTP/1.1 200 OK\r\nConnection: X-Gone\r\nX-Gone: 1\r\n\r\n", keep_alive=False)
    assert b"Connection: close\r\n" in closing
    assert b"X-Gone" not in closing
    old = rewrite_response(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", client_version=0)
    assert old.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"Connection: keep-alive\r\n" in old


def test_of_equal_lengths_the_first_one_is_sent() -> None:
    head = rewrite_request(
        request(b"X-A: 1", b"Content-Length: 5", b"X-B: 2", b"content-length: 05", start=b"POST / HTTP/1.1")
    )
    assert head.lower().count(b"content-length: 5\r\n") == head.lower().count(b"content-length") == 1


def test_many_lengths_cost_as_much_as_other_lines() -> None:
    def cost(line: bytes) -> float:
        head = request(*[b"X-A: 1"] * 4000, *[line] * 5000)
        spent = []
        for _ in range(5):
            began = time.process_time()
            rewrite_request(head)
            spent.append(time.process_time() - began)
        return min(spent)

    assert cost(b"Content-Length: 0") < 4 * cost(b"X-Another-One: 0")
