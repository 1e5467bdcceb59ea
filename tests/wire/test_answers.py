"""What servers may answer, over real sockets: every framing, 1xx, tunnels, failures, retries, back-pressure."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.http2 import Http2Client
from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.wire import TIMEOUT_S, Peer, Script, Server, answer_all, config_for, deaf, edge, serving

GET = b"GET /x HTTP/1.1\r\nHost: shop.test\r\n\r\n"


def saying(answer: bytes, *, close: bool = False) -> Script:
    """A script that gives every request the same answer."""

    def script(peer: Peer) -> None:
        while True:
            try:
                peer.message()
            except (EOFError, ConnectionError):
                return
            peer.send(answer)
            if close:
                return

    return script


@pytest.mark.parametrize("size", [0, 1, 8191, 8192, 32768, 100_000, 3_000_000])
def test_body_with_a_length_arrives_whole_and_the_connection_is_used_again(size: int) -> None:
    body = os.urandom(size)
    with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (size, body))) as server:
        with edge(config_for(server.url)) as lb:
            client = lb.client()
            for _ in range(3):
                assert client.ask(GET)[2] == body
        assert server.connections == 1


@pytest.mark.parametrize("size", [0, 1, 40_000, 3_000_000])
def test_chunked_body_arrives_whole_with_its_trailers(size: int) -> None:
    body = os.urandom(size)
    pieces = [body[at : at + 50_001] for at in range(0, size, 50_001)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    trailers = b"0\r\nX-Sum: 1\r\nContent-Length: 7\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + trailers
    with serving(saying(answer)) as server:
        with edge(config_for(server.url)) as lb:
            client = lb.client()
            for _ in range(2):
                client.send(GET)
                _, headers = client.head()
                assert headers["transfer-encoding"] == "chunked"
                assert client.chunks() == (body, b"X-Sum: 1\r\n")
        assert server.connections == 1


@pytest.mark.parametrize("line", [b"5   ", b"5 ;a=b", b"0000000000000005", b'5;a="b c";d'])
def test_chunk_size_lines_as_the_grammar_has_them_carry_the_body(line: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + line + b"\r\nhello\r\n0   \r\n\r\n"
    with serving(saying(answer)) as server, edge(config_for(server.url)) as lb:
        assert lb.ask(GET)[2] == b"hello"


@pytest.mark.parametrize("line", [b"5;", b'5;a="', b" 5", b"5;;a"])
def test_chunk_size_lines_that_are_none_end_the_answer(line: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + line + b"\r\nhello\r\n0\r\n\r\n"
    with serving(saying(answer)) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(GET)
        assert b"\r\n0\r\n\r\n" not in client.to_the_end()


@pytest.mark.parametrize("trailers", [b"", b"X-T: 1\r\n"])
def test_the_end_of_a_chunked_body_split_anywhere_is_its_end(trailers: bytes) -> None:
    end = b"0\r\n" + trailers + b"\r\n"
    cuts = iter(range(1, len(end)))

    def in_two(peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                peer.head()
                cut = next(cuts)
                peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + end[:cut])
                lb.settle()  # it has been read by itself
                peer.send(end[cut:])

    with serving(in_two) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        for _ in range(1, len(end)):
            client.send(GET)
            client.head()
            assert client.chunks() == (b"ok", trailers)


def test_sloppy_lines_of_heads_and_trailers_are_mended() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-A : b\r\nX-B: c\r\n\td\r\nTransfer-Encoding : chunked\r\nTrailer: X-T\r\n\r\n"
    trailers = b"X-T : 1\r\nX-U: 2\r\n 3\r\n\r\n"
    with serving(saying(head + b"2\r\nok\r\n0\r\n" + trailers)) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        for _ in range(2):
            client.send(GET)
            first, headers = client.head()
            assert (first, headers["x-a"], headers["x-b"]) == ("HTTP/1.1 200 OK", "b", "c d")
            assert headers["trailer"] == "X-T"
            assert client.chunks() == (b"ok", b"X-T: 1\r\nX-U: 2 3\r\n")
        assert server.connections == 1


@pytest.mark.parametrize("size", [0, 5, 1_000_000])
def test_body_that_ends_with_the_connection_becomes_chunked(size: int) -> None:
    body = os.urandom(size)
    with serving(saying(b"HTTP/1.1 200 OK\r\n\r\n" + body, close=True)) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        for _ in range(2):
            client.send(GET)
            _, headers = client.head()
            assert headers["transfer-encoding"] == "chunked"
            assert client.chunks()[0] == body


def test_chunked_body_for_an_http_1_0_client_ends_with_the_connection() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    with serving(saying(answer)) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        _, headers = client.head()
        assert "transfer-encoding" not in headers
        assert headers["connection"] == "close"
        assert client.to_the_end() == b"hello"


ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;a=b\r\n!\r\n0\r\nX-T: 1\r\n\r\n"


def test_answer_split_anywhere_is_one_answer() -> None:
    splits = [split for split in range(1, len(ANSWER)) for _ in range(2)]

    def script(peer: Peer) -> None:
        for split in splits:
            peer.message()
            peer.send(ANSWER[:split])
            lb.settle()
            peer.send(ANSWER[split:])

    with serving(script) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        for split in splits:
            assert client.ask(GET)[2] == b"hello!", split
        assert server.connections == 1


@pytest.mark.parametrize("status", [204, 304])
def test_status_without_body_has_none(status: int) -> None:
    answer = b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status
    with serving(saying(answer)) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        for _ in range(2):
            client.send(GET)
            assert client.head()[0].split()[1] == str(status)


def without_body(status: int) -> dict[str, dict[str, Any]]:
    """Middlewares that answer with that status, and have a text."""
    return {
        "errors": {"errors": {"service": "all", "status": ["404"], "statusRewrites": {"404": status}}},
        "errors, its own": {"errors": {"service": "all", "status": [str(status)]}},
        "circuitBreaker": {"circuitBreaker": {"expression": "NetworkErrorRatio() == 0", "responseCode": status}},
        "ipAllowList": {"ipAllowList": {"sourceRange": ["192.0.2.1"], "rejectStatusCode": status}},
    }


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("name", without_body(204))
@pytest.mark.parametrize("is_http2", [False, True])
def test_nor_has_it_one_where_a_middleware_answers(name: str, status: int, is_http2: bool) -> None:
    """Clients would take it for their next answer."""
    answer = b"HTTP/1.1 404 X\r\nContent-Length: 4\r\n\r\npage"
    if name == "errors, its own":  # of the first request; the page is another answer
        answer = b"HTTP/1.1 %d X\r\nX-Page: 1\r\n\r\n" % status

    def script(peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                is_page = peer.message()[0] == "GET / HTTP/1.1"
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage" if is_page else answer)

    with serving(script) as server:
        dynamic = config_for(server.url)
        dynamic["http"]["middlewares"] = {"answers": without_body(status)[name]}
        dynamic["http"]["routers"]["all"]["middlewares"] = ["answers"]
        with edge(dynamic) as lb:
            if name == "circuitBreaker":
                eventually(lambda: lb.ask(GET)[0].split()[1] == str(status), "it is open")
            if is_http2:
                with contextlib.closing(Http2Client(lb.client().sock)) as two:
                    for _ in range(2):
                        found = two.ask("GET", "/x")
                        assert (found.status, found.body) == (status, b"")
                return
            client = lb.client()
            client.send(GET * 2 + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            heads = [head.split(b"\r\n") for head in client.to_the_end().split(b"\r\n\r\n")]
            assert [head[0].split(b" ", 2)[:2] for head in heads] == [[b"HTTP/1.1", b"%d" % status]] * 3 + [[b""]]
            assert not [line for head in heads for line in head if line.lower().startswith(b"content-length")]


def test_head_keeps_the_length_and_has_no_body() -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        for _ in range(2):
            client.send(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.head()[1]["content-length"] == "17"


@pytest.mark.parametrize("status", [401, 404, 502])
def test_head_has_no_body_where_lbcore_itself_answers(status: int) -> None:
    dynamic = config_for("http://127.0.0.1:1")
    if status == 404:
        dynamic["http"]["routers"].clear()
    if status == 401:
        dynamic["http"]["middlewares"] = {"key": {"apiKey": {"keys": ["a:0123456789abcdef"]}}}
        dynamic["http"]["routers"]["all"]["middlewares"] = ["key"]
    with edge(dynamic) as lb:
        client = lb.client()
        length = client.ask(GET)[1]["content-length"]
        for _ in range(2):
            client.send(GET.replace(b"GET", b"HEAD", 1))
            first, headers = client.head()
            assert (first.split()[:2], headers["content-length"]) == (["HTTP/1.1", str(status)], length)
        assert client.ask(GET)[0].startswith(f"HTTP/1.1 {status}")


def test_early_hints_are_forwarded() -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with serving(saying(answer)) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        for _ in range(2):
            client.send(GET)
            assert client.head() == ("HTTP/1.1 103 Early Hints", {"link": "</a>"})
            assert client.message()[2] == b"ok"


EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"


@pytest.mark.parametrize("says", [True, False])
def test_expected_continue_is_said_when_the_server_says_it_or_keeps_silent(says: bool) -> None:
    def script(peer: Peer) -> None:
        _, headers = peer.head()
        assert headers["expect"] == "100-continue"
        if says:
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert peer.exactly(5) == b"hello"
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serving(script) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(EXPECTING)
        assert client.head()[0] == "HTTP/1.1 100 Continue"
        client.send(b"hello")
        assert client.message()[2] == b"ok"
        assert client.sock.fileno() >= 0


def test_expected_continue_that_the_server_refuses_ends_with_its_answer() -> None:
    refusal = b"HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno"

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(refusal)
        assert peer.to_the_end() == b""

    with serving(script) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(EXPECTING)
        assert client.message()[0].split()[1] == "417"
        assert client.to_the_end() == b""


def test_an_expectation_in_http_1_0_is_none() -> None:
    """RFC 9110 section 10.1.1: such a client does not wait, so nobody waits for it, nor is the server told of it."""

    def script(peer: Peer) -> None:
        first, headers = peer.head()
        assert (first, "expect" in headers) == ("POST / HTTP/1.1", False)
        assert peer.exactly(5) == b"hello"
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serving(script) as server, edge(config_for(server.url)) as lb:
        lb.drive()  # what would wait for a time would wait for ever
        client = lb.client()
        client.send(EXPECTING.replace(b"HTTP/1.1", b"HTTP/1.0") + b"hello")
        first, _, body = client.message()
        assert (first, body) == ("HTTP/1.0 200 OK", b"ok")


UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_upgrade_becomes_a_tunnel_both_ways() -> None:
    def echo(peer: Peer) -> None:
        _, headers = peer.head()
        assert (headers["connection"], headers["upgrade"]) == ("Upgrade", "websocket")
        assert headers["x-forwarded-proto"] == "ws"
        peer.send(SWITCHED + b"first")
        while piece := peer.rest or peer.sock.recv(65536):
            peer.rest = b""
            peer.send(piece)
        peer.send(b"last")

    with serving(echo) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(UPGRADE + b"early")
        first, headers = client.head()
        assert (first.split()[1], headers["upgrade"]) == ("101", "websocket")
        assert client.exactly(10) in (b"firstearly", b"earlyfirst")
        big = os.urandom(2_000_000)
        sender = threading.Thread(target=client.send, args=(big,))
        sender.start()
        assert client.exactly(len(big)) == big
        sender.join()
        client.sock.shutdown(socket.SHUT_WR)
        assert client.to_the_end() == b"last"
        eventually(lambda: lb.open_connections == 0, "no open connection")


def test_upgrade_that_the_server_refuses_is_an_ordinary_answer() -> None:
    answer = b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno"
    with serving(saying(answer)) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        assert client.ask(UPGRADE)[0].split()[1] == "401"
        assert client.ask(GET)[0].split()[1] == "401"


def test_an_unrequested_switch_of_protocols_is_refused() -> None:
    with serving(saying(SWITCHED)) as server, edge(config_for(server.url)) as lb:
        assert lb.ask(GET)[0].split()[1] == "502"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", "502"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "502"),
        (b"garbage\r\n\r\n", "502"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", "502"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", "502"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: ,\r\n\r\nabc", "502"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", "502"),
        (b"HTTP/1.1 200 OK\r\nbad name : x\r\n\r\n", "502"),
        (b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 0\r\n\r\n", "502"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10001 + b"Content-Length: 0\r\n\r\n", "502"),
    ],
)
def test_answer_that_cannot_be_read_is_replaced(answer: bytes, status: str) -> None:
    with serving(saying(answer, close=True)) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        for _ in range(2):
            first, _, body = client.ask(GET)
            assert first.split()[1] == status
            assert body == b"Bad Gateway"


def test_refused_connection_is_answered_with_502() -> None:
    with edge(config_for(f"http://127.0.0.1:{free_port()}")) as lb:
        client = lb.client()
        for _ in range(2):
            first, headers, body = client.ask(GET)
            assert (first.split()[1], body) == ("502", b"Bad Gateway")
            assert "content-type" not in headers


def test_name_without_address_is_answered_with_502() -> None:
    with edge(config_for("http://no-such-host.invalid:80")) as lb:
        assert lb.ask(GET)[0].split()[1] == "502"


def test_name_is_resolved() -> None:
    with serving() as server, edge(config_for(f"http://localhost:{server.port}")) as lb:
        assert lb.ask(GET)[2] == b"GET /x HTTP/1.1\n"


def test_no_server_is_answered_with_503() -> None:
    with edge(config_for()) as lb:
        first, _, body = lb.ask(GET)
        assert (first.split()[1], body) == ("503", b"no available server\n")


def test_silent_server_is_answered_with_504() -> None:
    def hang(peer: Peer) -> None:
        peer.to_the_end()

    timeouts = {"forwardingTimeouts": {"responseHeaderTimeout": "200ms"}}
    with serving(hang) as server, edge(config_for(server.url, transport=timeouts)) as lb:
        first, _, body = lb.ask(GET)
        assert (first.split()[1], body) == ("504", b"Gateway Timeout")


def test_connection_that_cannot_be_made_in_time_is_answered_with_504() -> None:
    timeouts = {"forwardingTimeouts": {"dialTimeout": "200ms"}}
    with deaf() as port, edge(config_for(f"http://127.0.0.1:{port}", transport=timeouts)) as lb:
        assert lb.ask(GET)[0].split()[1] == "504"


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
def test_body_cut_short_is_not_taken_for_whole(framing: bytes) -> None:
    part = b"5\r\nhello\r\n" if b"chunked" in framing else b"hello"
    answer = b"HTTP/1.1 200 OK\r\n%s\r\n\r\n%s" % (framing, part)
    with serving(saying(answer, close=True)) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(GET)
        client.head()
        assert client.to_the_end() == part


@pytest.mark.parametrize("middlewares", [{}, {"compress": {"minResponseBodyBytes": 1}}])
@pytest.mark.parametrize(
    "framing", [b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"Content-Length: 9\r\n\r\nhello"]
)
def test_body_cut_short_resets_a_client_for_whom_the_end_would_make_it_whole(framing: bytes, middlewares: Any) -> None:
    """HTTP/1.0 has no chunks, so only a reset tells the end of a body from that of a server."""
    dynamic = config_for("")
    if middlewares:
        dynamic["http"]["middlewares"] = {"m": middlewares}
        dynamic["http"]["routers"]["all"]["middlewares"] = ["m"]
    request = b"GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n"

    def script(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + framing)
        assert cut.wait(TIMEOUT_S)

    cut = threading.Event()
    with serving(script) as server:
        dynamic["http"]["services"]["all"]["loadBalancer"]["servers"] = [{"url": server.url}]
        with edge(dynamic) as lb:
            client = lb.client()
            client.send(request)
            _, headers = client.head()
            cut.set()
            if "content-length" in headers:
                assert client.to_the_end() == b"hello"
                return
            with pytest.raises(ConnectionResetError):
                while client.sock.recv(65536):
                    pass


def dying_after_one(peer: Peer) -> None:
    """Answers one request as if the connection stayed, and ends it when the next one comes."""
    peer.message()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with contextlib.suppress(EOFError):
        peer.head()


def test_idle_connection_that_died_is_replaced_unnoticed() -> None:
    with serving(dying_after_one) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        for _ in range(5):
            assert client.ask(GET)[0] == "HTTP/1.1 200 OK"
        assert server.connections == 5


def test_request_that_may_not_be_repeated_is_not() -> None:
    with serving(dying_after_one) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        assert client.ask(GET)[0] == "HTTP/1.1 200 OK"
        assert client.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")[0].split()[1] == "502"
        assert server.connections == 1


def test_connection_with_unasked_bytes_is_not_used_again() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    with serving(saying(answer)) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        for _ in range(3):
            assert client.ask(GET)[2] == b"ok"
        assert server.connections == 3


def test_slow_client_slows_the_server_down_and_loses_nothing() -> None:
    size = 64 << 20
    sent = []

    def pour(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        for _ in range(size >> 16):
            peer.send(piece)
            sent.append(65536)
        peer.send(b"0\r\n\r\n")

    with serving(pour) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(GET)
        client.head()
        before = -1
        while before != len(sent):  # until nothing moves any more
            before = len(sent)
            time.sleep(0.3)
        assert sum(sent) < size // 2
        body, _ = client.chunks()
        assert len(body) == size


def test_slow_server_slows_the_client_down_and_loses_nothing() -> None:
    # What the kernel may hold: sent by the client, received by lbcore, sent by lbcore. The part of the server is small.
    most = {way: int(Path(f"/proc/sys/net/ipv4/tcp_{way}mem").read_text().split()[2]) for way in "rw"}
    kernel = most["r"] + 2 * most["w"]
    size = kernel + (16 << 20)
    go = threading.Event()

    def sip(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        peer.head()
        go.wait(60)
        peer.exactly(size)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serving(sip) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        rest = client.fill(bytes(size))
        assert size - len(rest) < kernel + (1 << 20)
        go.set()
        client.send(rest)
        assert client.message()[2] == b"ok"


def test_unix_sockets_and_ipv6_on_both_sides(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    local, six = Server(answer_all, socket.AF_UNIX, path), Server(answer_all, socket.AF_INET6)
    try:
        with edge(config_for(local.url, six.url), address=f"unix:{tmp_path}/edge.sock") as lb:
            assert [lb.ask(GET)[2] for _ in range(2)] == [b"GET /x HTTP/1.1\n"] * 2
        with edge(config_for(six.url), address="[::1]:0") as lb:
            assert lb.ask(GET)[2] == b"GET /x HTTP/1.1\n"
        assert (local.connections, six.connections) == (1, 2)
    finally:
        local.close()
        six.close()


def test_idle_connection_to_a_server_closes_after_its_time() -> None:
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        peer.to_the_end()
        ended.set()

    transport = {"forwardingTimeouts": {"idleConnTimeout": "200ms"}}
    with serving(script) as server, edge(config_for(server.url, transport=transport)) as lb:
        assert lb.ask(GET)[2] == b"ok"
        assert ended.wait(5)


def test_server_that_leaves_the_configuration_keeps_no_connection() -> None:
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")
        peer.to_the_end()
        ended.set()

    with serving(script) as old, serving() as new, edge(config_for(old.url)) as lb:
        client = lb.client()
        assert client.ask(GET)[2] == b"old"
        lb.apply(config_for(new.url))
        assert client.ask(GET)[2] == b"GET /x HTTP/1.1\n"
        assert ended.wait(5)


def test_exchange_under_way_survives_a_reload() -> None:
    release = threading.Event()

    def script(peer: Peer) -> None:
        peer.message()
        release.wait(10)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")

    with serving(script) as old, serving() as new, edge(config_for(old.url)) as lb:
        client = lb.client()
        client.send(GET)
        eventually(lambda: old.connections, "a connection to the old server")
        lb.apply(config_for(new.url))
        release.set()
        assert client.message()[2] == b"old"
        assert client.ask(GET)[2] == b"GET /x HTTP/1.1\n"


def test_position_of_the_round_robin_survives_reloads() -> None:
    servers = [Server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % n)) for n in range(3)]
    config = config_for(*(server.url for server in servers))
    try:
        with edge(config) as lb:
            client = lb.client()
            answers = []
            for _ in range(9):
                answers.append(client.ask(GET)[2])
                lb.apply(config)
            assert answers == [b"0", b"1", b"2"] * 3
    finally:
        for server in servers:
            server.close()


@pytest.mark.parametrize("status", [b"100 Continue", b"103 Early Hints"])
def test_interim_answers_without_end_are_cut_off(status: bytes) -> None:
    def flood(peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            peer.message()
            while True:
                peer.send(b"HTTP/1.1 %s\r\nLink: </a.css>\r\n\r\n" % status * 100)

    with serving(flood) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(GET)
        first, _ = client.head()
        while first.startswith("HTTP/1.1 1"):
            first, _ = client.head()
        assert first == "HTTP/1.1 502 Bad Gateway"


def test_a_server_that_answers_and_ends_before_it_is_asked() -> None:
    """Its answer and its end may come with the event that says that it stands, and with no other."""

    def hasty(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        peer.sock.shutdown(socket.SHUT_WR)
        peer.to_the_end()

    with serving(hasty) as server, edge(config_for(server.url)) as lb:
        for _ in range(100):
            assert lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")[2] == b"ok"


def test_a_length_beside_a_coding_is_not_told_to_a_client_of_http_1_0() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n"

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(answer)

    with serving(script) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        _, headers = client.head()
        assert "content-length" not in headers and "transfer-encoding" not in headers
        assert client.to_the_end() == b"hello world"
