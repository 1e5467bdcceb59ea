"""What clients may send, over real sockets: heads in pieces, bodies of every framing, pipelines, refusals."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import time
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.wire import Peer, config_for, edge, serving

GET = b"GET /x HTTP/1.1\r\nHost: shop.test\r\n\r\n"


def test_requests_on_one_connection_share_one_to_the_server() -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        for _ in range(3):
            assert client.ask(GET)[2] == b"GET /x HTTP/1.1\n"
        assert server.connections == 1


def test_pipelined_requests_are_answered_in_order() -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        paths = [b"/%d" % n for n in range(50)]
        client.send(b"".join(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in paths))
        for path in paths:
            assert client.message()[2] == b"GET %s HTTP/1.1\n" % path


def test_pipelined_mix_of_own_and_servers_answers_keeps_its_order() -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        others = [b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"]
        client.send(GET + others[0] + GET + others[1] + GET)
        assert [client.message()[0].split()[1] for _ in range(4)] == ["200", "200", "200", "501"]
        assert client.to_the_end() == b""


def test_head_split_anywhere_is_one_request() -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        for split in range(1, len(GET)):
            client = lb.client()
            client.send(GET[:split])
            lb.settle()
            client.send(GET[split:] + GET)
            assert client.message()[2] == client.message()[2] == b"GET /x HTTP/1.1\n", split
            client.close()


def test_head_byte_by_byte_is_one_request() -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        for byte in GET:
            client.send(bytes([byte]))
            lb.settle()
        assert client.message()[2] == b"GET /x HTTP/1.1\n"


@pytest.mark.parametrize("size", [0, 1, 100, 8192, 32768, 65536, 1_000_000, 5_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_body_arrives_whole(size: int, chunked: bool) -> None:
    def digest(peer: Peer) -> None:
        for _ in range(2):
            _, headers, body = peer.message()
            assert ("content-length" in headers) is not chunked
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + hashlib.sha256(body).hexdigest().encode())

    body = os.urandom(size)
    with serving(digest) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        if chunked:
            pieces = [body[at : at + 70_001] for at in range(0, size, 70_001)]
            wire = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
            wire += b"0\r\nX-Trailer: 1\r\n\r\n"
            request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + wire
        else:
            request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + body
        for _ in range(2):
            client.send(request)
            assert client.message()[2].decode() == hashlib.sha256(body).hexdigest()


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED += b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-T: 1\r\n\r\n"


@pytest.mark.parametrize("split", range(50, len(CHUNKED)))
def test_chunked_body_split_anywhere_is_one_body(split: int) -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(CHUNKED[:split])
        client.send(CHUNKED[split:] + GET)
        assert client.message()[2] == b"POST / HTTP/1.1\nhello world"
        assert client.message()[2] == b"GET /x HTTP/1.1\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\nHost: a\n\n", "400"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", "400"),
        (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        (b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        (b"\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        (b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: a[b\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: [zz]\r\n\r\n", "400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: ,\r\n\r\nabc", "400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", "501"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", "400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", "400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "501"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\nContent-Length: 1\r\n\r\nx", "417"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 2000 + b"\r\n\r\n", "431"),
        (b"hello\r\n\r\n", "400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"),
    ],
)
def test_bad_request_gets_its_status_and_the_next_connection_is_served(request_bytes: bytes, status: str) -> None:
    with serving() as server, edge(config_for(server.url), http={"maxHeaderBytes": 1024}) as lb:
        client = lb.client()
        client.send(request_bytes + GET)
        first, headers, _ = client.message()
        assert first.split()[1] == status
        assert headers["connection"] == "close"
        assert client.to_the_end() == b""
        assert lb.ask(GET)[2] == b"GET /x HTTP/1.1\n"
        assert server.connections == 1


@pytest.mark.parametrize(
    "body",
    [b"5\r\nhelloX", b"zz\r\n", b" 5\r\nhello\r\n", b"5\nhello\r\n", b"f" * 16 + b"\r\n", b'5;a="\r\n', b"5;\r\n"],
)
def test_bad_chunk_framing_ends_the_exchange(body: bytes) -> None:
    def wait_for_the_end(peer: Peer) -> None:
        peer.head()
        assert b"0\r\n\r\n" not in peer.to_the_end()

    with serving(wait_for_the_end) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        assert client.message()[0].split()[1] == "400"
        assert client.to_the_end() == b""


@pytest.mark.parametrize("line", [b"5 ", b"5 ;a=b", b"0000000000000005", b'5;a="b c";d'])
def test_chunk_size_lines_as_the_grammar_has_them_carry_the_body(line: bytes) -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert lb.ask(head + line + b"\r\nhello\r\n0\r\n\r\n")[2] == b"POST / HTTP/1.1\nhello"


def with_trailers(peer: Peer) -> None:
    """Answer with the `Trailer` header, the body and the trailer section that came."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            _, headers = peer.head()
            body, trailers = peer.chunks()
            text = headers.get("trailer", "none").encode() + b"\n" + body + b"\n" + trailers
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))


FORBIDDEN = (
    b"Authorization: x\r\nCookie: a=b\r\nHost: b\r\nContent-Length: 7\r\nTransfer-Encoding: x\r\n"
    b"X-Forwarded-For: 1.1.1.1\r\n"
    b"X_Forwarded_For: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\nConnection: close\r\nX.Sum: 1\r\nContent-Type: a/b\r\n"
)


@pytest.mark.parametrize("split", [0, 1, 7, 1000])
def test_trailers_that_a_request_announces_go_on(split: int) -> None:
    names = b", ".join(line.partition(b":")[0] for line in FORBIDDEN.split(b"\r\n") if line)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    body = b"5\r\nhello\r\n0\r\n"
    sections = {
        b"Trailer: X-Sum, x-other\r\n": (b"X-Sum: 1\r\nX-Other: 2\r\nX-More: 3\r\n", b"X-Sum: 1\r\nX-Other: 2\r\n"),
        b"": (b"X-Sum: 1\r\n", b""),
        b"Trailer: X-Sum\r\n": (b"", b""),
        b"Trailer: X-Sum, " + names + b"\r\n": (FORBIDDEN + b"X-Sum: 1\r\n", b"X-Sum: 1\r\n"),
    }
    with serving(with_trailers) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        for announced, (sent, arrives) in sections.items():
            whole = head + announced + b"\r\n" + body + sent + b"\r\n"
            cut = len(whole) - min(split, len(whole) - 1)
            client.send(whole[:cut])
            if split:
                lb.settle()
            client.send(whole[cut:])
            told = announced.removeprefix(b"Trailer: ").removesuffix(b"\r\n") or b"none"
            assert client.message()[2] == told + b"\nhello\n" + arrives
        assert server.connections == 1


def test_many_trailers_of_many_that_are_announced_cost_no_more_than_their_sum() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: "
    names = b",".join(b"a%05d" % number for number in range(60_000)) + b",x-ok"
    with serving(with_trailers) as server, edge(config_for(server.url)) as lb:

        def cpu_s(count: int) -> float:
            trailers = b"".join(b"b%04d:\r\n" % number for number in range(count))
            before_s = time.process_time()
            answer = lb.ask(head + names + b"\r\n\r\n0\r\n" + trailers + b"X-Ok: 1\r\n\r\n")[2]
            assert answer.endswith(b"\n\nX-Ok: 1\r\n")
            return time.process_time() - before_s

        few, many = (min(cpu_s(count) for _ in range(3)) for count in (10, 2000))
        assert many < 10 * few  # compared one by one, it is more than fifty times as much


@pytest.mark.parametrize("names", [1, 60_000])  # behind a large head, all of the section is there at once
@pytest.mark.parametrize(("size", "status"), [(16_000, "200"), (17_000, "400"), (40_000, "400")])
def test_a_trailer_section_has_its_limit_however_it_arrives(names: int, size: int, status: str) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: "
    head += b",".join(b"a%05d" % number for number in range(names)) + b"\r\n\r\n"
    with serving(with_trailers) as server, edge(config_for(server.url)) as lb:
        answer = lb.ask(head + b"0\r\n" + b"b: %s\r\n" % (b"x" * 95) * (size // 100) + b"\r\n")
        assert answer[0].split(" ")[1] == status


NAMING: dict[str, dict[str, Any]] = {
    "set": {"headers": {"customRequestHeaders": {"X-User": "ann"}}},
    "removed": {"headers": {"customRequestHeaders": {"x-user": ""}}},
    "user": {"basicAuth": {"users": ["ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="], "headerField": "X-User"}},
    "asked": {"forwardAuth": {"address": "", "authResponseHeaders": ["X-User"]}},
    "asked-matching": {"forwardAuth": {"address": "", "authResponseHeadersRegex": "^X-Us"}},
}


@pytest.mark.parametrize("tells", [b"X-User: ann\r\n", b""])
def test_trailers_are_not_what_middlewares_say(tells: bytes) -> None:
    def allow(peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while peer.head():
                peer.send(b"HTTP/1.1 200 OK\r\n%sContent-Length: 0\r\n\r\n" % tells)

    with serving(with_trailers) as server, serving(allow) as asked:
        settings = config_for(server.url)
        settings["http"]["middlewares"] = {
            name: {kind: {**options, "address": asked.url} if "address" in options else options}
            for name, middleware in NAMING.items()
            for kind, options in middleware.items()
        }
        for name in NAMING:
            rule = f"Header(`X-Case`, `{name}`)"
            settings["http"]["routers"][name] = {"rule": rule, "service": "all", "middlewares": [name]}
        with edge(settings) as lb:
            client = lb.client()
            head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Ok, x-user\r\n"
            head += b"Authorization: Basic YW5uOnNlY3JldA==\r\n"
            body = b"0\r\nX-User: root\r\nx-USER: root\r\nX-Ok: 1\r\n\r\n"
            for name in NAMING:
                client.send(head + b"X-Case: " + name.encode() + b"\r\n\r\n" + body)
                assert client.message()[2].endswith(b"\n\nX-Ok: 1\r\n"), name


def test_trailers_of_a_request_go_on_to_a_fallback() -> None:
    def refuse(peer: Peer) -> None:
        peer.head()
        peer.chunks()
        peer.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

    with serving(refuse) as main, serving(with_trailers) as spare:
        config = config_for(main.url)
        services = config["http"]["services"]
        services["spare"] = {"loadBalancer": {"servers": [{"url": spare.url}]}}
        services["safe"] = {"failover": {"service": "all", "fallback": "spare", "errors": {"status": ["503"]}}}
        config["http"]["routers"]["all"]["service"] = "safe"
        with edge(config) as lb:
            request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            assert lb.ask(request + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n")[2] == b"X-Sum\nok\nX-Sum: 1\r\n"


def test_trailers_that_cannot_be_read_end_the_request() -> None:
    for section in (b"X : 1\r\n\r\n", b"X: 1\r\n folded\r\n\r\n", b"X: \0\r\n\r\n", b"X\r\n\r\n"):
        with serving(with_trailers) as server, edge(config_for(server.url)) as lb:
            head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n"
            client = lb.client()
            client.send(head + b"2\r\nok\r\n0\r\n" + section)
            assert client.message()[0].split()[1] == "400"


@pytest.mark.parametrize("lines", [b"\r\n", b"\r\n" * 5000])
def test_empty_lines_before_a_request_are_passed_over(lines: bytes) -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        post = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
        client.send(lines + post + lines + GET + lines)
        assert client.message()[2] == b"POST /p HTTP/1.1\nx"
        assert client.message()[2] == b"GET /x HTTP/1.1\n"
        client.send(b"\n" + GET)
        assert client.message()[0].split()[1] == "400"


def test_empty_lines_are_no_request_that_is_waited_for() -> None:
    responding = {"readTimeout": "60s", "idleTimeout": "300ms"}
    with serving() as server, edge(config_for(server.url), transport={"respondingTimeouts": responding}) as lb:
        client = lb.client()
        assert client.ask(GET)[0].split()[1] == "200"
        client.send(b"\r\n\r\n")
        assert client.to_the_end() == b""


def test_the_last_hop_answers_trace_and_options_itself() -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        first, headers, body = client.ask(b"OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
        assert (first, headers["content-length"], body) == ("HTTP/1.1 200 OK", "0", b"")
        secret = b"Cookie: a=b\r\nAuthorization: x\r\nProxy-Authorization: y\r\n"
        first, headers, body = client.ask(b"TRACE /x?y HTTP/1.1\r\nHost: a\r\n" + secret + b"Max-Forwards: 0\r\n\r\n")
        assert (first, headers["content-type"]) == ("HTTP/1.1 200 OK", "message/http")
        assert body == b"TRACE /x?y HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"
        assert client.ask(b"OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n")[2] == b""  # as `*` (RFC 9112 section 3.2.4)
        assert server.connections == 0
        assert client.ask(b"OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\n\r\n")[2].startswith(b"OPTIONS /x")
        assert client.ask(b"GET /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")[2].startswith(b"GET /x")


def test_absolute_form_sets_the_host() -> None:
    def host(peer: Peer) -> None:
        first, headers = peer.head()
        text = f"{first} {headers['host']}".encode()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))

    with serving(host) as server, edge(config_for(server.url)) as lb:
        request = b"GET http://real.test:81/p?q HTTP/1.1\r\nHost: other\r\n\r\n"
        assert lb.ask(request)[2] == b"GET /p?q HTTP/1.1 real.test:81"


@pytest.mark.parametrize("host", [b"a b", b"a/b", b"[::1", b"a?b", b"caf\xc3\xa9"])
def test_absolute_form_needs_a_host_header_that_is_one(host: bytes) -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        status, _, body = lb.ask(b"GET http://real.test/ HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        assert (status, body.startswith(b"400 Bad Request")) == ("HTTP/1.1 400 Bad Request", True)
        assert server.connections == 0


def test_http_1_0_client_gets_its_answer_and_the_end() -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(b"GET /x HTTP/1.0\r\n\r\n")
        assert client.message()[0] == "HTTP/1.0 200 OK"
        assert client.to_the_end() == b""


def test_http_1_0_client_may_keep_its_connection() -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        for _ in range(2):
            _, headers, _ = client.ask(b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert headers["connection"] == "keep-alive"


def test_connection_closes_after_its_last_request() -> None:
    with serving() as server, edge(config_for(server.url), transport={"keepAliveMaxRequests": 2}) as lb:
        client = lb.client()
        assert "connection" not in client.ask(GET)[1]
        assert client.ask(GET)[1]["connection"] == "close"
        assert client.to_the_end() == b""


def test_half_a_head_is_given_up_after_the_read_timeout() -> None:
    timeouts = {"respondingTimeouts": {"readTimeout": "200ms"}}
    with serving() as server, edge(config_for(server.url), transport=timeouts) as lb:
        client = lb.client()
        client.send(GET[:20])
        assert client.message()[0].split()[1] == "408"
        assert client.to_the_end() == b""


def test_head_that_trickles_in_does_not_move_its_deadline() -> None:
    timeouts = {"respondingTimeouts": {"readTimeout": "300ms"}}
    with serving() as server, edge(config_for(server.url), transport=timeouts) as lb:
        client = lb.client()
        began = time.monotonic()
        client.sock.settimeout(0.02)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        while time.monotonic() - began < 20:
            client.send(b"X: y\r\n")
            with contextlib.suppress(TimeoutError):
                assert client.message()[0].split()[1] == "408"
                break
        assert time.monotonic() - began < 15


def test_idle_connection_closes_after_the_idle_timeout() -> None:
    timeouts = {"respondingTimeouts": {"idleTimeout": "200ms"}}
    with serving() as server, edge(config_for(server.url), transport=timeouts) as lb:
        client = lb.client()
        client.ask(GET)
        assert client.to_the_end() == b""


def test_body_that_stalls_is_answered_with_408() -> None:
    def swallow(peer: Peer) -> None:
        peer.to_the_end()

    timeouts = {"respondingTimeouts": {"readTimeout": "200ms"}}
    with serving(swallow) as server, edge(config_for(server.url), transport=timeouts) as lb:
        client = lb.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        assert client.message()[0].split()[1] == "408"


def test_client_that_goes_away_cancels_the_request_to_the_server() -> None:
    cancelled: list[bytes] = []

    def hang(peer: Peer) -> None:
        peer.head()
        cancelled.append(peer.to_the_end())

    with serving(hang) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(GET)
        eventually(lambda: server.connections, "a connection to the server")
        client.close()
        eventually(lambda: cancelled, "the end of the connection to the server")
        eventually(lambda: lb.open_connections == 0, "no open connection")


def test_answer_before_the_body_is_complete_reaches_the_client() -> None:
    def refuse(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")

    with serving(refuse) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
        first, headers, body = client.message()
        assert (first.split()[1], headers["connection"], body) == ("413", "close", b"big")
        assert client.to_the_end() == b""


def test_unknown_host_is_answered_with_404() -> None:
    config = config_for("http://127.0.0.1:1")
    config["http"]["routers"]["all"]["rule"] = "Host(`known.test`)"
    with edge(config) as lb:
        client = lb.client()
        for _ in range(2):
            first, headers, body = client.ask(GET)
            assert (first, body) == ("HTTP/1.1 404 Not Found", b"404 page not found\n")
            assert headers["content-type"] == "text/plain; charset=utf-8"
            assert headers["x-content-type-options"] == "nosniff"


def test_body_of_a_request_that_no_router_takes_is_read_past() -> None:
    config = config_for("http://127.0.0.1:1")
    config["http"]["routers"]["all"]["rule"] = "Host(`known.test`)"
    with edge(config) as lb:
        client = lb.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + GET)
        assert [client.message()[0].split()[1] for _ in range(2)] == ["404", "404"]


def test_connection_that_closes_with_lbcores_own_answer_leaves_nothing_behind() -> None:
    config = config_for("http://127.0.0.1:1")
    config["http"]["routers"]["all"]["rule"] = "Host(`known.test`)"
    with edge(config) as lb:
        for _ in range(20):
            client = lb.client()
            assert client.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")[0].split()[1] == "404"
            assert client.to_the_end() == b""
        eventually(lambda: lb.open_connections == 0, "no open connection")


def test_a_closed_connection_stays_closed_although_a_child_has_its_descriptor() -> None:
    """What a fork does at the wrong moment: the kernel goes on telling of a connection that has been closed."""

    def proxys_end(client: Peer) -> int:
        for entry in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(os.stat(f"/proc/self/fd/{entry}").st_mode):
                    sock = socket.socket(fileno=os.dup(int(entry)))
                    if sock.family != socket.AF_UNIX and sock.getpeername()[1] == client.sock.getsockname()[1]:
                        return sock.detach()
                    sock.close()
        raise AssertionError("the proxy has no such connection")

    with serving() as server, edge(config_for(server.url)) as lb:
        kept, gone = [], []
        for _ in range(20):
            client = lb.client()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
            eventually(lambda: lb.open_connections == 1, "it is accepted")
            kept.append(proxys_end(client))
            client.send(b"Connection: close\r\n\r\n")
            assert client.head()[0] == "HTTP/1.1 200 OK"
            eventually(lambda: lb.open_connections == 0, "it is closed")
            gone.append(client)
        alive = [lb.client() for _ in range(10)]
        for client in gone:
            client.send(b"more of it")
        for client in alive:
            assert client.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")[0] == "HTTP/1.1 200 OK"
        for fd in kept:
            os.close(fd)
        for client in gone + alive:
            client.close()


@pytest.mark.parametrize("first", [True, False])
def test_an_empty_line_in_front_of_a_request_may_come_in_pieces(first: bool) -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not first:
            client.ask(GET)
        for pieces in ((b"\r", b"\n", GET), (b"\r", b"\n\r", b"\n" + GET[:1], GET[1:]), (b"\r\n\r", b"\n" + GET)):
            for piece in pieces:
                client.send(piece)
                lb.settle()
            assert client.message()[0].split()[1] == "200"
        client.send(b"\r")
        lb.settle()
        client.send(b"\r\n" + GET)
        assert client.to_the_end().startswith(b"HTTP/1.1 400 ")
