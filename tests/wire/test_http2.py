"""HTTP/2 from clients, to servers that speak HTTP/1: what each side sees, frame by frame."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hyperframe.frame import HeadersFrame, SettingsFrame, WindowUpdateFrame

from tests.support.certificates import certificate
from tests.support.http2 import PREFACE, Answer, Http2Client, request
from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.recorder import GET, counters, recorders
from tests.support.tls import Records, trusting
from tests.support.wire import TIMEOUT_S, Edge, Peer, Script, config_for, edge, serving

PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM = 1, 2, 7


class Decrypted:
    """A socket over TLS whose records were moved by hand so far."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.settimeout = records.sock.settimeout

    def sendall(self, data: bytes) -> None:
        self.records.send(data)

    def recv(self, count: int) -> bytes:
        while True:
            try:
                return self.records.tls.read(count)
            except ssl.SSLWantReadError:
                if not self.records.pull():
                    return b""


@contextlib.contextmanager
def client(lb: Edge, **settings: Any) -> Iterator[Http2Client]:
    found = Http2Client(socket.create_connection(lb.address, timeout=TIMEOUT_S), **settings)
    try:
        yield found
    finally:
        found.close()


class Heads:
    """A server that notes the heads it is sent, and answers with bodies of a given size."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") -> None:
        self.answer = answer
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.lines: list[str] = []

    def __call__(self, peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                head = peer.until(b"\r\n\r\n")
                self.lines += head.decode("latin-1").split("\r\n")
                peer.rest = head + peer.rest
                self.seen.append(peer.message())
                peer.send(self.answer)


# Requests and answers


def test_a_request_becomes_one_of_http1_and_its_answer_goes_back() -> None:
    extra = b"X-Mixed: Case\r\nConnection: x-gone\r\nX-Gone: 1\r\n"
    heads = Heads(b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n" + extra + b"\r\nhello")
    with serving(heads) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        answer = h2.ask("PUT", "/a%20b?c=d", ("x-one", "1"), ("te", "trailers"), body=b"text")
        assert (answer.status, answer.body) == (201, b"hello")
        assert answer.head["x-mixed"] == "Case"
        assert answer.head["content-length"] == "5"
        assert "date" in answer.head
        assert not {"connection", "x-gone", "transfer-encoding"} & set(answer.head)
    first, headers, body = heads.seen[0]
    assert first == "PUT /a%20b?c=d HTTP/1.1"
    assert headers["host"] == "a.test"
    assert headers["x-one"] == "1"
    assert headers["transfer-encoding"] == "chunked"
    assert headers["x-forwarded-proto"] == "http"
    assert body == b"text"


@pytest.mark.parametrize("sent", ["at once", "in pieces"])
def test_a_length_that_is_known_goes_on(sent: str) -> None:
    heads = Heads()
    with serving(heads) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        stream = h2.open()
        h2.headers(stream, request("POST", "/", ("content-length", "6")), end=False)
        if sent == "in pieces":
            h2.ping()
        h2.data(stream, b"abc")
        h2.data(stream, b"def", end=True)
        assert h2.answer(stream).status == 200
    assert heads.seen[0][1]["content-length"] == "6"
    assert heads.seen[0][2] == b"abcdef"
    assert "transfer-encoding" not in heads.seen[0][1]


def test_pieces_of_cookie_are_joined() -> None:
    heads = Heads()
    with serving(heads) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        h2.ask("GET", "/", ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3"))
    assert [line for line in heads.lines if line.lower().startswith("cookie")] == ["cookie: a=1; b=2; c=3"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(":authority", "b.test"), ("host", "b.test")], 200),
        ([(":authority", "B.test"), ("host", "b.TEST")], 200),
        ([(":authority", "b.test"), ("host", "c.test")], 400),
        ([(":authority", "user@b.test")], 400),
        ([(":authority", "b.test,c.test")], 400),
        ([(":authority", "b.test/x")], 400),
        ([(":scheme", "ftp")], 400),
        ([("expect", "something")], 417),
        ([(":method", "CONNECT"), (":protocol", "something")], 501),
    ],
)
def test_what_http1_would_refuse_is_refused_with_the_same_status(fields: list[tuple[str, str]], status: int) -> None:
    with serving() as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        answer = h2.ask("GET", "/", *fields)
        # Some versions of the library refuse some of these themselves.
        assert answer.reset == PROTOCOL_ERROR if answer.reset is not None else answer.status == status
        assert status != 200 or answer.reset is None
        assert h2.ask().status == 200


def test_host_serves_where_there_is_no_authority() -> None:
    heads = Heads()
    with serving(heads) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        stream = h2.open()
        h2.headers(stream, [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "only.test")])
        assert h2.answer(stream).status == 200
    assert heads.seen[0][1]["host"] == "only.test"


MALFORMED = {
    "upper case": [*request(), ("X-Upper", "1")],
    "a line feed in a value": [*request(), ("x", "a\nb")],
    "a carriage return in a value": [*request(), ("x", "a\rb: c")],
    "NUL in a value": [*request(), ("x", "a\0b")],
    "a line feed in a name": [*request(), ("x\ny", "a")],
    "a colon in a name": [*request(), ("x:y", "a")],
    "a space in a name": [*request(), ("x y", "a")],
    "an empty name": [*request(), ("", "a")],
    "a space in front of a value": [*request(), ("x", " a")],
    "a line feed in the path": request("GET", "/a\nb"),
    "a space in the path": request("GET", "/a b HTTP/1.1"),
    "an empty path": request("GET", ""),
    "a path without a slash": request("GET", "a"),
    "an absolute path": request("GET", "http://b.test/"),
    "an asterisk that is not for OPTIONS": request("GET", "*"),
    "a space in the method": request("GET /x", "/"),
    "a line feed in the authority": request("GET", "/", (":authority", "a\r\nx: y")),
    "no method": request()[1:],
    "no scheme": [request()[0], *request()[2:]],
    "no path": [*request()[:2], request()[3]],
    "two methods": [(":method", "GET"), *request()],
    "two paths": [*request(), (":path", "/b")],
    "a pseudo-header after a field": [*request()[:3], ("x", "y"), request()[3]],
    "an unknown pseudo-header": [*request(), (":unknown", "x")],
    "a pseudo-header of answers": [*request(), (":status", "200")],
    "connection": [*request(), ("connection", "close")],
    "keep-alive": [*request(), ("keep-alive", "1")],
    "proxy-connection": [*request(), ("proxy-connection", "close")],
    "transfer-encoding": [*request("POST"), ("transfer-encoding", "chunked")],
    "upgrade": [*request(), ("upgrade", "h2c")],
    "te other than trailers": [*request(), ("te", "gzip")],
    "two lengths": [*request("POST"), ("content-length", "3"), ("content-length", "4")],
    "a length that is no number": [*request("POST"), ("content-length", "0x3")],
    "a length without a body": [*request("POST"), ("content-length", "3")],
    "protocol without CONNECT": [*request(), (":protocol", "websocket")],
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_request_ends_its_stream_and_no_server_sees_it(case: str) -> None:
    heads = Heads()
    with serving(heads) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        stream = h2.open()
        h2.headers(stream, MALFORMED[case])
        answer = h2.answer(stream)
        if case == "an asterisk that is not for OPTIONS":
            assert answer.reset == PROTOCOL_ERROR or answer.status == 400
        else:
            assert answer.reset == PROTOCOL_ERROR
        assert h2.ask().status == 200
    assert len(heads.seen) == 1


@pytest.mark.parametrize("sent", [b"ab", b"abcd"])
def test_a_body_that_is_not_as_long_as_announced_ends_its_stream(sent: bytes) -> None:
    with serving() as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        stream = h2.open()
        h2.headers(stream, request("POST", "/", ("content-length", "3")), end=False)
        h2.data(stream, sent, end=True)
        assert h2.answer(stream).reset == PROTOCOL_ERROR
        assert h2.ask().status == 200


def test_head_and_answers_without_a_body() -> None:
    def script(peer: Peer) -> None:
        with contextlib.suppress(EOFError):
            while True:
                first = peer.message()[0]
                if first.startswith("HEAD"):
                    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
                else:
                    peer.send(b"HTTP/1.1 " + first.split("/")[1][:3].encode() + b" X\r\nEtag: x\r\n\r\n")

    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        answer = h2.ask("HEAD", "/200")
        assert (answer.status, answer.body, answer.head["content-length"]) == (200, b"", "100")
        for status in (204, 304):
            answer = h2.ask("GET", f"/{status}")
            assert (answer.status, answer.body) == (status, b"")


def test_interim_answers_come_before_the_final_one() -> None:
    def script(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        answer = h2.ask()
        assert [dict(head)[":status"] for head in answer.heads] == ["103", "200"]
        assert dict(answer.heads[0])["link"] == "</x>"


def test_a_client_that_expects_100_continue_is_told_to_go_on() -> None:
    with serving() as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        stream = h2.open()
        h2.headers(stream, request("POST", "/", ("expect", "100-continue"), ("content-length", "4")), end=False)
        assert dict(h2.head_of(stream).heads[0]) == {":status": "100"}
        h2.data(stream, b"body", end=True)
        assert h2.answer(stream).body.endswith(b"body")


def test_trailers_of_an_answer_go_on() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n"
    with serving(Heads(answer)) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        found = h2.ask()
        assert (found.body, found.trailers) == (b"abc", {"x-sum": "6"})
        assert found.head["trailer"] == "X-Sum"


@pytest.mark.parametrize("body", [b"abc", b""])
def test_trailers_of_a_request_that_it_announces_go_on(body: bytes) -> None:
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.head()
        seen.extend(peer.chunks())
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        stream = h2.open()
        h2.headers(stream, request("POST", "/", ("trailer", "x-sum")), end=False)
        if body:
            h2.data(stream, body)
        h2.headers(stream, [("x-sum", "6"), ("x-other", "7")])
        assert h2.answer(stream).status == 200
    assert seen == [body, b"x-sum: 6\r\n"]


def test_what_may_not_be_a_trailer_ends_the_stream() -> None:
    with serving() as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        stream = h2.open()
        h2.headers(stream, request("POST"), end=False)
        h2.headers(stream, [(":path", "/other")])
        assert h2.answer(stream).reset == PROTOCOL_ERROR
        assert h2.ask().status == 200


@pytest.mark.parametrize(
    ("rest", "body", "trailers"),
    [
        (b"Content-Length: 5\r\n\r\nlarge", b"large", {}),
        (b"Content-Length: 0\r\n\r\n", b"", {}),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nlarge\r\n0\r\nX-T: 1\r\n\r\n", b"large", {"x-t": "1"}),
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\n\r\n", b"", {"x-t": "1"}),
    ],
)
def test_a_request_that_is_answered_before_it_is_complete_may_stop(
    rest: bytes, body: bytes, trailers: dict[str, str]
) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 413 X\r\nConnection: close\r\n" + rest)

    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        for _ in range(3):
            stream = h2.open()
            h2.headers(stream, request("POST", "/", ("te", "trailers")), end=False)
            answer = h2.answers.setdefault(stream, Answer())
            h2.until(lambda answer=answer: answer.reset is not None)
            assert (answer.status, answer.body, answer.ended, answer.reset) == (413, body, True, 0)
            assert answer.trailers == trailers


@pytest.mark.parametrize("piece", [500, 16384])
def test_bodies_on_their_way_when_they_are_refused_do_no_harm(piece: int) -> None:
    """A client fills its windows before it hears of the refusals: that is no flood, and ends no other stream."""

    def script(peer: Peer) -> None:
        first, _ = peer.head()
        if "/long" in first:
            assert done.wait(TIMEOUT_S)
        peer.send(b"HTTP/1.1 403 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    done = threading.Event()
    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        long = h2.send("GET", "/long")
        h2.until(lambda: h2.settings)
        for _ in range(12):
            stream = h2.open()
            h2.headers(stream, request("POST"), end=False)
            answer = h2.answers.setdefault(stream, Answer())
            h2.until(lambda answer=answer: answer.reset is not None)
            left = min(h2.settings[4], h2.windows[0])
            h2.windows[0] -= left
            while left:
                h2.data(stream, bytes(min(piece, left)))
                left -= min(piece, left)
            h2.ping()  # all of that was read, and the window of the connection is given back
            assert h2.windows[0] > 0
        done.set()
        assert h2.answer(long).status == 403


@pytest.mark.parametrize(
    ("answer", "status", "body", "trailers"),
    [
        (b"413 X\r\nContent-Length: 0\r\n\r\n", 413, b"", {}),
        (b"204 X\r\n\r\n", 204, b"", {}),
        (b"200 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, b"", {}),
        (b"200 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n", 200, b"abc", {"x-sum": "7"}),
        (b"200 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 7\r\n\r\n", 200, b"", {"x-sum": "7"}),
    ],
)
def test_an_answer_before_the_request_is_complete_comes_whole(
    answer: bytes, status: int, body: bytes, trailers: dict[str, str]
) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 " + answer)
        with contextlib.suppress(ConnectionError):
            peer.to_the_end()

    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        for _ in range(2):  # the connection goes on
            stream = h2.open()
            h2.headers(stream, request("POST"), end=False)
            found = h2.head_of(stream)
            h2.until(lambda found=found: found.reset is not None)  # type: ignore[misc]
            assert (found.status, found.body, found.trailers) == (status, body, trailers)
            assert (found.ended, found.reset) == (True, 0)


def test_a_refusal_of_lbcores_own_comes_before_the_request_is_complete() -> None:
    grpc = (("te", "trailers"), ("content-type", "application/grpc"))
    with edge(config_for(f"http://127.0.0.1:{free_port()}")) as lb, client(lb) as h2:
        for more in ((), grpc):
            stream = h2.open()
            h2.headers(stream, request("POST", "/", *more), end=False)
            found = h2.head_of(stream)
            h2.until(lambda found=found: found.reset is not None)  # type: ignore[misc]
            assert found.ended
            assert (found.status, found.head.get("grpc-status")) == ((200, "14") if more else (502, None))


def test_an_answer_that_breaks_off_is_seen_to_be_incomplete() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"

    def script(peer: Peer) -> None:
        peer.message()
        peer.send(answer)

    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        found = h2.ask()
        assert (found.ended, found.reset) == (False, INTERNAL_ERROR)
        assert h2.ask().reset == INTERNAL_ERROR  # the connection goes on


def test_a_head_that_is_too_large_is_answered() -> None:
    with serving() as server, edge(config_for(server.url), http={"maxHeaderBytes": 8192}) as lb, client(lb) as h2:
        assert h2.ask("GET", "/", *((f"x-{i}", "v" * 500) for i in range(20))).status == 431
        assert h2.ask("GET", "/", ("x", "v" * 5000)).status == 200


def test_many_streams_at_once() -> None:
    heads = Heads()
    with serving(heads) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        streams = [h2.send("GET", f"/{i}") for i in range(100)]
        assert all(h2.answer(stream).body == b"ok" for stream in streams)
    assert sorted(first for first, _, _ in heads.seen) == sorted(f"GET /{i} HTTP/1.1" for i in range(100))


def test_more_streams_than_allowed_are_refused_so_that_they_can_be_repeated() -> None:
    release = threading.Event()

    def script(peer: Peer) -> None:
        peer.message()
        release.wait(TIMEOUT_S)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    limit = {"maxConcurrentStreams": 3}
    with serving(script) as server, edge(config_for(server.url), http2=limit) as lb, client(lb) as h2:
        streams = [h2.send() for _ in range(4)]  # the client does not know the limit yet
        assert h2.answer(streams[3]).reset == REFUSED_STREAM
        assert h2.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 3
        release.set()
        assert [h2.answer(stream).status for stream in streams[:3]] == [200] * 3


# Back-pressure


def test_a_body_goes_both_ways_whole() -> None:
    body = bytes(range(256)) * 8192  # 2 MiB

    def script(peer: Peer) -> None:
        received = peer.message()[2]
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(received) + received)

    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        stream = h2.open()
        h2.headers(stream, request("POST"), end=False)
        h2.upload(stream, body)
        assert h2.answer(stream).body == body


def test_a_client_that_does_not_read_a_stream_stops_its_server_and_no_other_stream() -> None:
    sent = [0]
    gone = threading.Event()

    def script(peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                first = peer.message()[0]
                if "/small" in first:
                    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    continue
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
                peer.sock.setblocking(False)
                while not gone.wait(0.01):
                    with contextlib.suppress(BlockingIOError):
                        sent[0] += peer.sock.send(bytes(65536))
                return

    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb, window=65535) as h2:
        h2.reads = False
        stream = h2.send("GET", "/large")
        answer = h2.head_of(stream)
        h2.frame(WindowUpdateFrame(0, window_increment=1 << 20))
        h2.until(lambda: len(answer.body) == 65535)
        before = -1
        while sent[0] != before:
            before = sent[0]
            lb.settle()
            assert h2.ask("GET", "/small").body == b"ok"
        assert sent[0] < 20 << 20
        assert len(answer.body) == 65535
        gone.set()


def test_a_server_that_does_not_read_stops_its_client_and_no_other_stream() -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                if "/small" in peer.head()[0]:
                    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                else:
                    gone.wait(TIMEOUT_S)

    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        h2.ping()
        stream = h2.open()
        h2.headers(stream, request("POST", "/large"), end=False)
        left = h2.settings[SettingsFrame.INITIAL_WINDOW_SIZE]
        while left > 0:  # all that it may send without a word of the other side
            h2.data(stream, bytes(min(16384, left)))
            left -= 16384
        assert h2.ask("GET", "/small").body == b"ok"
        gone.set()


# Connections


def test_http2_over_tls_is_agreed_on_by_alpn(tmp_path: Path) -> None:
    files = certificate(tmp_path, "a", "a.test")
    heads = Heads()
    with serving(heads) as server:
        dynamic = config_for(server.url)
        dynamic["http"]["routers"]["all"]["tls"] = {}
        dynamic["tls"] = {"certificates": [{"certFile": str(files.certificate), "keyFile": str(files.key)}]}
        with edge(dynamic) as lb:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2", "http/1.1"])
            plain = socket.create_connection(lb.address, timeout=TIMEOUT_S)
            sock = context.wrap_socket(plain, server_hostname="a.test")
            assert sock.selected_alpn_protocol() == "h2"
            h2 = Http2Client(sock)
            stream = h2.open()
            h2.headers(stream, request("POST"), end=False)
            h2.upload(stream, b"x" * 100000)
            assert h2.answer(stream).status == 200
            assert heads.seen[0][1]["x-forwarded-proto"] == "https"
            h2.close()


def test_tls_options_without_h2_do_not_offer_it(tmp_path: Path) -> None:
    files = certificate(tmp_path, "a", "a.test")
    with serving() as server:
        dynamic = config_for(server.url)
        dynamic["http"]["routers"]["all"]["tls"] = {}
        dynamic["tls"] = {
            "certificates": [{"certFile": str(files.certificate), "keyFile": str(files.key)}],
            "options": {"default": {"alpnProtocols": ["http/1.1"]}},
        }
        with edge(dynamic) as lb:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2", "http/1.1"])
            with context.wrap_socket(socket.create_connection(lb.address), server_hostname="a.test") as sock:
                assert sock.selected_alpn_protocol() == "http/1.1"


def test_a_preface_that_comes_in_pieces_is_one() -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        sock = socket.create_connection(lb.address, timeout=TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (PREFACE[:5], PREFACE[5:16], PREFACE[16:20]):
            sock.sendall(piece)
            lb.settle()
        h2 = Http2Client(sock, preface=PREFACE[20:])
        assert h2.ask().status == 200
        h2.close()


def test_what_only_looks_like_a_preface_is_refused() -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        peer = lb.client()
        peer.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
        assert b" 505 " in peer.to_the_end().split(b"\r\n")[0]


def test_the_keep_alive_limit_ends_a_connection_and_no_stream() -> None:
    limit = {"keepAliveMaxRequests": 3}
    with serving() as server, edge(config_for(server.url), transport=limit) as lb, client(lb) as h2:
        streams = [h2.send() for _ in range(4)]
        assert [h2.answer(stream).status for stream in streams] == [200] * 4
        h2.to_the_end()
        assert [frame.error_code for frame in h2.goaways] == [0, 0]
        assert h2.goaways[0].last_stream_id == 2**31 - 1
        assert h2.goaways[1].last_stream_id == streams[-1]


def test_the_limit_of_age_ends_a_connection_and_no_stream() -> None:
    limit = {"keepAliveMaxTime": "3s"}
    with serving() as server, edge(config_for(server.url), transport=limit) as lb, contextlib.ExitStack() as stack:
        lb.drive()
        h2 = stack.enter_context(client(lb))
        assert h2.ask().status == 200
        lb.drive(2999)
        assert h2.ask().status == 200
        h2.ping()
        assert not h2.goaways
        lb.drive(1)
        streams = [h2.send() for _ in range(4)]
        assert [h2.answer(stream).status for stream in streams] == [200] * 4
        h2.to_the_end()
        assert [frame.error_code for frame in h2.goaways] == [0, 0]


def test_an_idle_connection_is_ended_in_time() -> None:
    timeouts = {"respondingTimeouts": {"idleTimeout": "200ms"}}
    with serving() as server, edge(config_for(server.url), transport=timeouts) as lb, client(lb) as h2:
        assert h2.ask().status == 200
        h2.to_the_end()
        assert [frame.error_code for frame in h2.goaways] == [0, 0]
        eventually(lambda: lb.open_connections == 0, "the connection ends")


def test_a_client_that_goes_away_breaks_its_requests_off() -> None:
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.message()
        peer.to_the_end()
        ended.set()

    with serving(script) as server, edge(config_for(server.url)) as lb:
        with client(lb) as h2:
            h2.send()
            eventually(lambda: server.connections == 1, "the server is asked")
        assert ended.wait(TIMEOUT_S)
        eventually(lambda: lb.open_connections == 0, "the connection ends")


def test_a_stream_that_is_reset_breaks_its_request_off_and_no_other() -> None:
    ended = threading.Event()

    def script(peer: Peer) -> None:
        if "/hang" in peer.message()[0]:
            peer.to_the_end()
            ended.set()
        else:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        stream = h2.send("GET", "/hang")
        eventually(lambda: server.connections == 1, "the server is asked")
        h2.reset(stream)
        assert ended.wait(TIMEOUT_S)
        assert h2.ask().status == 200


def test_a_body_that_does_not_come_is_answered_with_408() -> None:
    timeouts = {"respondingTimeouts": {"readTimeout": "300ms"}}
    with serving() as server, edge(config_for(server.url), transport=timeouts) as lb, client(lb) as h2:
        stream = h2.open()
        h2.headers(stream, request("POST"), end=False)
        assert h2.answer(stream).status == 408


def test_an_answer_that_does_not_come_in_time_is_answered_with_504() -> None:
    timeouts = {"respondingTimeouts": {"writeTimeout": "300ms"}}
    silent: Script = Peer.to_the_end
    with serving(silent) as server, edge(config_for(server.url), transport=timeouts) as lb, client(lb) as h2:
        assert h2.ask().status == 504


@pytest.mark.parametrize("size", [5, 1_000_000])
def test_an_answer_that_is_not_taken_in_time_ends_its_stream(size: int) -> None:
    """The client gives no window, whether all of the answer waits for it or the server is held up."""
    timeouts = {"respondingTimeouts": {"writeTimeout": "300ms"}}
    with recorders("all") as (server,), edge(config_for(server.url), transport=timeouts) as lb:
        server.answer = lambda *request: (200, bytes(size))
        with contextlib.closing(Http2Client(lb.client().sock, window=0)) as h2:
            for _ in range(2):
                stream = h2.send()
                h2.until(lambda stream=stream: stream in h2.answers and h2.answers[stream].reset is not None)
                assert (h2.answers[stream].status, h2.answers[stream].body) == (200, b"")


def test_a_client_that_takes_nothing_of_its_answers_in_time_is_let_go() -> None:
    timeouts = {"respondingTimeouts": {"writeTimeout": "300ms"}}
    body = bytes(40_000_000)  # more than the sockets on the way hold
    with recorders("all") as (server,), edge(config_for(server.url), transport=timeouts) as lb:
        server.answer = lambda *request: (200, body)
        member = f"all@file|{server.url}"
        with contextlib.closing(Http2Client(lb.client().sock, window=(1 << 31) - 1)) as h2:
            asked = 0

            def is_let_go() -> bool:
                nonlocal asked
                if lb.open_connections == 0:
                    return True
                if len(server.requests) == asked and counters(lb, member).in_flight == 0:
                    h2.send()  # for the first time, or because a server on a busy machine was late, which is a 504
                    asked += 1
                return False

            eventually(is_let_go, "the connection ends")


def test_a_client_that_does_not_take_the_last_frames_is_let_go() -> None:
    """It is idle for too long, and nothing is under way; what the client has not read keeps the last frames back."""
    body = bytes(16_000)  # lbcore takes an answer whole, also when its connection has no room
    with recorders("all") as (server,), edge(config_for(server.url)) as lb:
        server.answer = lambda *request: (200, body)
        member, other = f"all@file|{server.url}", lb.client()
        with contextlib.closing(Http2Client(lb.client().sock, window=(1 << 31) - 1)) as h2:

            def is_asked() -> bool:
                before = counters(lb, member).requests
                h2.send()
                for _ in range(3):
                    other.ask(GET)  # when these are answered lbcore has looked at the other connection, too
                return bool(counters(lb, member).requests == before + 4)

            h2.send()
            eventually(lambda: counters(lb, member).requests == 1, "the connection is accepted")
            while is_asked():
                pass
            eventually(lambda: counters(lb, member).in_flight == 0, "nothing is under way")
            other.close()
            eventually(lambda: lb.open_connections == 1, "the other connection ends")
            lb.drive()
            for _ in range(600):  # the kernel may take some more at last, and the connection is idle anew
                if lb.open_connections == 0:
                    return
                lb.drive(1000)
            raise AssertionError("the connection stays open")


def test_half_a_head_is_not_waited_for() -> None:
    timeouts = {"respondingTimeouts": {"readTimeout": "300ms"}}
    with serving() as server, edge(config_for(server.url), transport=timeouts) as lb, client(lb) as h2:
        h2.frame(HeadersFrame(1, h2.block(request()), flags=["END_STREAM"]))
        h2.to_the_end()
        eventually(lambda: lb.open_connections == 0, "the connection ends")


def test_a_server_that_reads_slowly_gets_all_of_a_body() -> None:
    body = bytes(range(256)) * 16384  # 4 MiB
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        length = int(peer.head()[1]["content-length"])
        while sum(map(len, seen)) < length:
            seen.append(peer.exactly(min(65536, length - sum(map(len, seen)))))
            threading.Event().wait(0.002)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        stream = h2.open()
        h2.headers(stream, request("PUT", "/", ("content-length", str(len(body)))), end=False)
        h2.upload(stream, body)
        assert h2.answer(stream).status == 200
    assert b"".join(seen) == body


# Other protocols over a stream


def websocket(h2: Http2Client) -> int:
    stream = h2.open()
    more = [(":protocol", "websocket"), ("sec-websocket-version", "13")]
    h2.headers(stream, [*request("CONNECT", "/chat"), *more], end=False)
    return stream


def switching(peer: Peer) -> None:
    """Switch, then answer every byte in upper case until the client has ended, then say so."""
    first, headers = peer.head()
    assert first == "GET /chat HTTP/1.1"
    assert (headers["connection"], headers["upgrade"]) == ("Upgrade", "websocket")
    assert (headers["sec-websocket-version"], len(headers["sec-websocket-key"])) == ("13", 24)
    assert headers["x-forwarded-proto"] in ("ws", "wss")
    peer.send(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello ")
    rest, peer.rest = peer.rest, b""
    peer.send(rest.upper())
    while piece := peer.sock.recv(65536):
        peer.send(piece.upper())
    peer.send(b" bye")


def test_a_websocket_over_a_stream() -> None:
    with serving(switching) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        h2.ping()
        assert h2.settings[SettingsFrame.ENABLE_CONNECT_PROTOCOL] == 1
        stream = websocket(h2)
        answer = h2.head_of(stream)
        assert answer.status == 200
        assert not {"upgrade", "connection", "sec-websocket-accept"} & set(answer.head)
        h2.data(stream, b"abc")
        h2.until(lambda: answer.body == b"hello ABC")
        h2.data(stream, b"", end=True)
        assert h2.answer(stream).body == b"hello ABC bye"


def test_a_websocket_has_one_key() -> None:
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        seen.append(peer.until(b"\r\n\r\n").lower())
        peer.send(b"HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n")

    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        stream = h2.open()
        more = (("sec-websocket-key", "of-the-client"), ("sec-websocket-version", "13"))
        fields = [*request("CONNECT")[:1], (":protocol", "websocket"), *request("CONNECT")[1:]]
        h2.headers(stream, [*fields, *more], end=False)
        assert h2.head_of(stream).status == 403
    assert seen[0].count(b"sec-websocket-key:") == 1
    assert b"of-the-client" not in seen[0]


def test_a_websocket_announces_no_body() -> None:
    """Its server would wait for one, and take the next request on the connection for it."""
    heads = Heads(b"HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n")
    with serving(heads) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        stream = h2.open()
        fields = [*request("CONNECT")[:1], (":protocol", "websocket"), *request("CONNECT")[1:]]
        h2.headers(stream, [*fields, ("content-length", "5")], end=False)
        assert h2.head_of(stream).status == 403
        assert h2.ask("GET", "/next").status == 403
    assert [first for first, _, _ in heads.seen] == ["GET / HTTP/1.1", "GET /next HTTP/1.1"]
    assert "content-length" not in heads.seen[0][1]


def test_a_websocket_that_carries_much_both_ways() -> None:
    body = bytes(range(97, 123)) * 40000  # 1 MB
    with serving(switching) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        stream = websocket(h2)
        h2.head_of(stream)
        h2.upload(stream, body)
        assert h2.answer(stream).body == b"hello " + body.upper() + b" bye"


def test_a_websocket_that_is_reset_ends_at_the_server() -> None:
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        peer.to_the_end()
        ended.set()

    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        stream = websocket(h2)
        h2.head_of(stream)
        h2.reset(stream)
        assert ended.wait(TIMEOUT_S)
        h2.ping()
        assert lb.open_connections == 1


def test_a_websocket_that_the_server_refuses() -> None:
    with serving(Heads(b"HTTP/1.1 403 X\r\nContent-Length: 2\r\n\r\nno")) as server, edge(config_for(server.url)) as lb:
        with client(lb) as h2:
            answer = h2.answer(websocket(h2))
            assert (answer.status, answer.body) == (403, b"no")


@pytest.mark.parametrize(("priority", "even"), [(None, True), ("u=3, i", True), ("u=3", False)])
def test_streams_share_a_connection_as_their_priority_says(priority: str | None, even: bool) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + bytes(400000)
    more = [] if priority is None else [("priority", priority)]
    with serving(Heads(answer)) as server, edge(config_for(server.url)) as lb, client(lb, window=65535) as h2:
        h2.reads = False
        streams = [h2.send("GET", f"/{i}", *more) for i in range(2)]
        answers = [h2.head_of(stream) for stream in streams]
        h2.until(lambda: sum(len(found.body) for found in answers) == 65535)  # the window of the connection
        for found, stream in zip(answers, streams, strict=True):
            h2.frame(WindowUpdateFrame(stream, window_increment=400000))
            assert found.reset is None
        before = [len(found.body) for found in answers]
        for step in range(1, 9):  # each less than what waits in lbcore, so that no stream is without data in its turn
            h2.frame(WindowUpdateFrame(0, window_increment=16384))
            h2.until(lambda sent=step: sum(len(found.body) for found in answers) == 65535 + 16384 * sent)
        shares = [len(found.body) - length for found, length in zip(answers, before, strict=True)]
        assert (min(shares) > 30000) is even


def table_sizes_of(lb: Edge) -> tuple[int, int]:
    """The size of the table for the fields of requests, as the client is told, and of the one for answers."""
    with client(lb) as h2:
        h2.frame(SettingsFrame(0, settings={SettingsFrame.HEADER_TABLE_SIZE: 65536}))
        h2.ping()
        h2.encoder.header_table_size = h2.settings[SettingsFrame.HEADER_TABLE_SIZE]
        assert h2.ask().status == 200
        return h2.settings[SettingsFrame.HEADER_TABLE_SIZE], h2.decoder.header_table_size


def test_the_sizes_of_tables() -> None:
    with serving(Heads()) as server:
        with edge(config_for(server.url)) as lb:
            assert table_sizes_of(lb) == (4096, 4096)
        sizes = {"maxDecoderHeaderTableSize": 1000, "maxEncoderHeaderTableSize": 10000}
        with edge(config_for(server.url), http2=sizes) as lb:
            assert table_sizes_of(lb) == (1000, 10000)


def test_a_connection_whose_preface_ends_during_a_drain_is_drained() -> None:
    """Its requests are served, and it is told to begin no others."""

    def drain() -> None:
        assert lb.proxy._plane is not None
        lb.proxy._plane.drain()
        drained.set()

    drained = threading.Event()
    with serving() as server, edge(config_for(server.url)) as lb:
        sock = socket.create_connection(lb.address, timeout=TIMEOUT_S)
        sock.sendall(PREFACE[:20])
        eventually(lambda: lb.open_connections == 1, "the connection is there")
        lb._loop.call_soon_threadsafe(drain)
        assert drained.wait(TIMEOUT_S)
        h2 = Http2Client(sock, preface=PREFACE[20:])
        assert h2.ask().status == 200
        h2.to_the_end()
        assert [frame.error_code for frame in h2.goaways] == [0, 0]
        h2.close()


def test_a_connection_whose_handshake_ends_during_a_drain_is_drained(tmp_path: Path) -> None:
    def drain() -> None:
        assert lb.proxy._plane is not None
        lb.proxy._plane.drain()
        drained.set()

    drained = threading.Event()
    files = certificate(tmp_path, "edge", "a.test")
    with serving() as server:
        dynamic = config_for(server.url)
        dynamic["http"]["routers"]["all"]["tls"] = {}
        dynamic["tls"] = {"certificates": [files.entry]}
        with edge(dynamic) as lb:
            context = trusting()
            context.set_alpn_protocols(["h2"])
            records = Records(lb.client().sock, context)
            assert not records.goes_on()
            hello = records.outgoing.read()
            records.sock.sendall(hello[:100])
            eventually(lambda: lb.open_connections == 1, "the connection is there")
            lb._loop.call_soon_threadsafe(drain)
            assert drained.wait(TIMEOUT_S)
            records.sock.sendall(hello[100:])
            records.pull()
            records.shake_hands()
            decrypted: Any = Decrypted(records)
            h2 = Http2Client(decrypted)
            assert h2.ask().status == 200
            h2.to_the_end()
            assert [frame.error_code for frame in h2.goaways] == [0, 0]


@pytest.mark.parametrize("sends", [False, True])
def test_the_last_bytes_of_a_websocket_come_although_its_server_resets_the_connection(sends: bool) -> None:
    """sends: the reset is found by sending to the server."""

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert go_on.wait(TIMEOUT_S)
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.send(b"last")
        peer.close()
        closed.set()

    go_on, closed = threading.Event(), threading.Event()
    with serving(script) as server, edge(config_for(server.url)) as lb, client(lb) as h2:
        stream = h2.open()
        h2.headers(stream, [*request("CONNECT"), (":protocol", "websocket")], end=False)
        answer = h2.head_of(stream)
        assert answer.status == 200

        def all_at_once() -> None:  # before the proxy looks again
            if sends:
                h2.data(stream, bytes(10000))
            go_on.set()
            assert closed.wait(TIMEOUT_S)

        lb._loop.call_soon_threadsafe(all_at_once)
        h2.answer(stream)
        assert answer.body == b"last"


def test_a_client_that_writes_before_it_reads_is_read() -> None:
    """It takes nothing of a long answer while it sends a body: if neither end read, both would wait for ever."""
    full, got = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        first, _, body = peer.message()
        if first.startswith("PUT"):
            assert body == bytes(220_000)
            got.set()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n")
        peer.fill(bytes(40_000_000))
        full.set()
        got.wait(TIMEOUT_S)

    with serving(script) as server, edge(config_for(server.url)) as lb:
        sock = socket.socket()
        sock.settimeout(TIMEOUT_S)
        for name in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, name, 4096)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        sock.connect(lb.address)
        h2 = Http2Client(sock)
        h2.ping()
        long = h2.send("GET", "/long")
        assert full.wait(TIMEOUT_S)
        put = h2.open()
        h2.headers(put, request("PUT"), end=False)
        h2.upload(put, bytes(220_000))
        assert got.wait(TIMEOUT_S)
        assert h2.answer(put).status == 200
        h2.reset(long)
        h2.close()
