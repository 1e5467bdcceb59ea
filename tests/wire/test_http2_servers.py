"""HTTP/2 to servers: `h2c://`, and `https://` where the handshake agrees on it; many streams on few connections."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack
import pytest
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame

from tests.support.certificates import certificate
from tests.support.http2 import PREFACE, Http2Client
from tests.support.instance import eventually
from tests.support.recorder import counters
from tests.support.wire import TIMEOUT_S, Edge, Peer, config_for, edge, serving

HEADERS, SETTINGS, WINDOW_UPDATE = 1, 4, 8
Fields = dict[str, str]


class Call:
    """A request that a server was sent, on its stream."""

    def __init__(self, connection: Connection, stream: int, fields: Fields) -> None:
        self.connection, self.stream, self.fields = connection, stream, fields
        self.body = b""
        self.trailers: Fields = {}
        self.ended = threading.Event()
        self.reset = threading.Event()

    def answer(self, status: int = 200, body: bytes = b"ok", *headers: tuple[str, str], end: bool = True) -> None:
        self.head(status, *headers)
        self.data(body, end=end)

    def head(self, status: int, *headers: tuple[str, str], end: bool = False) -> None:
        self.connection.do(lambda h: h.send_headers(self.stream, [(":status", str(status)), *headers], end_stream=end))

    def data(self, data: bytes, *, end: bool = False) -> None:
        """As the windows allow."""
        while data:
            count = len(data)
            with self.connection.lock, contextlib.suppress(OSError, h2.exceptions.ProtocolError):
                count = min(len(data), self.connection.h2.local_flow_control_window(self.stream), 16384)
                if count > 0:
                    self.connection.h2.send_data(self.stream, data[:count])
                    self.connection.flush()
            data = data[max(count, 0) :]
            if count <= 0:
                time.sleep(0.005)
        if end:
            self.connection.do(lambda h: h.end_stream(self.stream))

    def end(self, *trailers: tuple[str, str]) -> None:
        self.connection.do(lambda h: h.send_headers(self.stream, trailers, end_stream=True))

    def break_off(self, code: int) -> None:
        self.connection.do(lambda h: h.reset_stream(self.stream, code))


class Connection:
    """One connection of a server; each request runs `script` on a thread once its head has come."""

    def __init__(
        self, sock: socket.socket, script: Callable[[Call], None], reads: bool, limit: int | None, websockets: bool
    ) -> None:
        self.sock, self.script, self.reads = sock, script, reads
        self.lock = threading.RLock()
        self.calls: dict[int, Call] = {}
        self.pings = 0
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        if websockets:
            codes = h2.settings.SettingCodes
            self.h2.local_settings = h2.settings.Settings(False, {codes.ENABLE_CONNECT_PROTOCOL: 1})
        with self.lock:
            self.h2.initiate_connection()
            if limit is not None:
                self.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: limit})
            self.flush()

    def flush(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    def do(self, action: Callable[[h2.connection.H2Connection], None]) -> None:
        with self.lock, contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            action(self.h2)
            self.flush()

    def go_away(self, last: int, code: int = 0) -> None:
        self.do(lambda h: h.close_connection(code, last_stream_id=last))

    def serve(self) -> None:
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            while data := self.sock.recv(65536):
                with self.lock:
                    for event in self.h2.receive_data(data):
                        self.take(event)
                    self.flush()
        for call in self.calls.values():
            call.reset.set()
        self.sock.close()

    def take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            call = self.calls[event.stream_id] = Call(self, event.stream_id, dict(event.headers))  # type: ignore[arg-type]
            threading.Thread(target=self.script, args=(call,), daemon=True).start()
        elif isinstance(event, h2.events.DataReceived):
            self.calls[event.stream_id].body += event.data
            if self.reads:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.calls[event.stream_id].trailers = dict(event.headers)  # type: ignore[arg-type]
        elif isinstance(event, h2.events.StreamEnded):
            self.calls[event.stream_id].ended.set()
        elif isinstance(event, h2.events.StreamReset):
            self.calls[event.stream_id].reset.set()
        elif isinstance(event, h2.events.PingReceived):
            self.pings += 1


class Http2Server:
    """A server of HTTP/2, over TLS with a context, else without."""

    def __init__(
        self,
        script: Callable[[Call], None],
        context: ssl.SSLContext | None = None,
        *,
        reads: bool = True,
        limit: int | None = None,
        websockets: bool = False,
    ) -> None:
        self.script, self.context, self.reads, self.limit = script, context, reads, limit
        self.websockets = websockets
        self.connections: list[Connection] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if context else "h2c"
        self.url = f"{scheme}://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def calls(self) -> list[Call]:
        return [call for connection in self.connections for call in list(connection.calls.values())]

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock: socket.socket) -> None:
        if self.context is not None:
            sock = self.context.wrap_socket(sock, server_side=True)
            assert sock.selected_alpn_protocol() == "h2"
        connection = Connection(sock, self.script, self.reads, self.limit, self.websockets)
        self.connections.append(connection)
        connection.serve()


def echo(call: Call) -> None:
    call.ended.wait(TIMEOUT_S)
    call.answer(200, f"{call.fields[':method']} {call.fields[':path']}\n".encode() + call.body, ("x-served", "1"))


@contextlib.contextmanager
def through(server: Http2Server, **settings: Any) -> Iterator[Edge]:
    with edge(config_for(server.url, **settings)) as lb:
        yield lb
    server.listener.close()


@contextlib.contextmanager
def client(lb: Edge) -> Iterator[Http2Client]:
    found = Http2Client(socket.create_connection(lb.address, timeout=TIMEOUT_S))
    try:
        yield found
    finally:
        found.close()


def test_a_request_of_http1_becomes_one_of_http2_and_back() -> None:
    server = Http2Server(echo)
    with through(server) as lb:
        more = b"X-One: 1\r\nConnection: X-Gone\r\nX-Gone: 1\r\n"
        request = b"POST /a?b=c HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n" + more + b"\r\nbody"
        first, headers, body = lb.ask(request)
        assert (first, body) == ("HTTP/1.1 200 OK", b"POST /a?b=c\nbody")
        assert headers["x-served"] == "1"
        assert headers["transfer-encoding"] == "chunked"
    fields = server.calls[0].fields
    assert (fields[":scheme"], fields[":authority"], fields[":path"]) == ("http", "a.test", "/a?b=c")
    assert (fields["content-length"], fields["x-one"], fields["x-forwarded-proto"]) == ("4", "1", "http")
    assert not {"connection", "x-gone", "host", "transfer-encoding", "upgrade"} & set(fields)


def test_many_requests_share_a_connection() -> None:
    release = threading.Event()

    def script(call: Call) -> None:
        release.wait(TIMEOUT_S)
        call.answer()

    server = Http2Server(script)
    with through(server) as lb, client(lb) as h2:
        streams = [h2.send("GET", f"/{i}") for i in range(50)]
        eventually(lambda: len(server.calls) == 50, "all are asked")
        release.set()
        assert [h2.answer(stream).body for stream in streams] == [b"ok"] * 50
        assert h2.ask().body == b"ok"
        assert len(server.connections) == 1


def test_more_than_the_server_allows_use_more_connections() -> None:
    release = threading.Event()

    def script(call: Call) -> None:
        if call.fields[":path"] != "/first":
            release.wait(TIMEOUT_S)
        call.answer()

    server = Http2Server(script, limit=2)
    with through(server) as lb, client(lb) as h2:
        assert h2.ask("GET", "/first").body == b"ok"
        streams = [h2.send() for _ in range(5)]
        eventually(lambda: len(server.calls) >= 6, "all are asked")
        release.set()
        assert [h2.answer(stream).body for stream in streams] == [b"ok"] * 5


def test_bodies_go_both_ways_whole() -> None:
    body = bytes(range(256)) * 4096  # 1 MiB
    server = Http2Server(echo)
    with through(server) as lb, client(lb) as h2:
        stream = h2.open()
        h2.headers(stream, [(":method", "PUT"), (":scheme", "http"), (":path", "/"), (":authority", "a")], end=False)
        h2.upload(stream, body)
        assert h2.answer(stream).body == b"PUT /\n" + body
        request = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        assert lb.ask(request)[2].endswith(body)


def test_trailers_and_interim_answers() -> None:
    def script(call: Call) -> None:
        call.ended.wait(TIMEOUT_S)
        call.head(103, ("link", "</x>"))
        call.head(200)
        call.data(b"abc")
        call.end(("x-sum", call.trailers["x-sum"]))

    server = Http2Server(script)
    with through(server) as lb, client(lb) as h2:
        stream = h2.open()
        head = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("trailer", "x-sum")]
        h2.headers(stream, head, end=False)
        h2.data(stream, b"x")
        h2.headers(stream, [("x-sum", "7")])
        answer = h2.answer(stream)
        assert [dict(part).get(":status") for part in answer.heads] == ["103", "200", None]
        assert (answer.body, answer.trailers) == (b"abc", {"x-sum": "7"})


def test_an_answer_before_the_request_is_complete_comes_with_its_trailers() -> None:
    def script(call: Call) -> None:
        if call.fields[":path"] == "/refused":
            call.head(200, ("content-type", "application/grpc"), ("grpc-status", "7"), end=True)
        else:
            call.head(200, ("content-type", "application/grpc"))
            call.data(b"abc")
            call.end(("grpc-status", "0"))
        call.connection.do(lambda h: h.reset_stream(call.stream, 0))  # as servers of gRPC do

    server = Http2Server(script)
    grpc = [("te", "trailers"), ("content-type", "application/grpc")]
    with through(server) as lb, client(lb) as h2:
        for path, status in (("/refused", "7"), ("/", "0")):
            stream = h2.open()
            head = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "a"), *grpc]
            h2.headers(stream, head, end=False)
            answer = h2.answer(stream)
            assert answer.ended
            assert dict(answer.heads[-1])["grpc-status"] == status


@pytest.mark.parametrize(("size", "passes"), [(60_000, True), (70_000, False)])
def test_statuses_of_grpc_with_details_are_large(size: int, passes: bool) -> None:
    def script(call: Call) -> None:
        call.ended.wait(TIMEOUT_S)
        call.head(200)
        call.data(b"abc")
        call.end(("grpc-status-details-bin", "x" * size))

    server = Http2Server(script)
    with through(server) as lb:
        peer = lb.client()
        peer.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (b"\r\n0\r\ngrpc-status-details-bin: " + b"x" * size + b"\r\n\r\n" in peer.to_the_end()) is passes


def test_a_server_that_does_not_read_stops_its_client() -> None:
    server = Http2Server(lambda call: None, reads=False)
    with through(server) as lb, client(lb) as h2:
        h2.ping()
        stream = h2.open()
        h2.headers(stream, [(":method", "PUT"), (":scheme", "http"), (":path", "/"), (":authority", "a")], end=False)
        h2.windows[stream] = 262144
        sent = 0
        while h2.windows[0] > 0 and h2.windows[stream] > 0:
            count = min(16384, h2.windows[0], h2.windows[stream])
            h2.data(stream, bytes(count))
            h2.windows[0] -= count
            h2.windows[stream] -= count
            sent += count
            h2.ping()
        assert sent < 1 << 20


def test_what_the_server_has_not_looked_at_is_sent_once_more() -> None:
    tries = [0]

    def script(call: Call) -> None:
        tries[0] += 1
        if tries[0] == 1:
            call.break_off(7)
        else:
            call.ended.wait(TIMEOUT_S)
            call.answer(200, call.fields[":method"].encode())

    server = Http2Server(script)
    with through(server) as lb:
        assert lb.ask(b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n")[2] == b"DELETE"
    assert tries[0] == 2


def test_streams_behind_the_last_one_of_a_goaway_are_sent_over_another_connection() -> None:
    gone = threading.Event()

    def script(call: Call) -> None:
        if call.connection is server.connections[0] and call.fields[":path"] != "/first":
            gone.wait(TIMEOUT_S)
            return
        call.answer()

    server = Http2Server(script)
    with through(server) as lb, client(lb) as h2:
        assert h2.ask("GET", "/first").body == b"ok"
        streams = [h2.send("POST") for _ in range(10)]
        eventually(lambda: len(server.calls) == 11, "all are asked")
        server.connections[0].go_away(1)
        assert [h2.answer(stream).body for stream in streams] == [b"ok"] * 10
        assert len(server.connections) == 2
        gone.set()


def test_a_request_that_the_server_may_have_seen_is_not_sent_again() -> None:
    tries = [0]

    def script(call: Call) -> None:
        tries[0] += 1
        call.break_off(2)

    server = Http2Server(script)
    with through(server) as lb:
        assert lb.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")[0] == "HTTP/1.1 502 Bad Gateway"
    assert tries[0] == 1


@pytest.mark.parametrize("ends_with_the_head", [True, False])
def test_an_empty_answer_without_a_length_has_one_for_http1(ends_with_the_head: bool) -> None:
    def script(call: Call) -> None:
        call.head(200 if call.fields[":path"] == "/" else 404, end=ends_with_the_head)
        if not ends_with_the_head:
            call.data(b"", end=True)

    server = Http2Server(script)
    with through(server) as lb:
        peer = lb.client()
        for version, path in ((b"1.1", b"/"), (b"1.1", b"/a"), (b"1.0", b"/")):
            peer.send(b"GET %s HTTP/%s\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" % (path, version))
            head = peer.until(b"\r\n\r\n").lower()
            if b"transfer-encoding" in head:  # where the end has come later than the head
                assert peer.chunks()[0] == b""
            elif b"connection: close" not in head:
                assert b"\r\ncontent-length: 0\r\n" in head
        peer = lb.client()
        peer.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"content-length" not in peer.until(b"\r\n\r\n").lower()  # what GET would bring is not known


def test_what_is_on_its_way_for_requests_that_have_gone_ends_no_other_request() -> None:
    sent, proceed = threading.Semaphore(0), threading.Event()

    def script(call: Call) -> None:
        call.head(200)
        if call.fields[":path"] == "/long":
            assert proceed.wait(TIMEOUT_S)
            return call.data(b"whole", end=True)
        assert call.reset.wait(TIMEOUT_S)
        with call.connection.lock:  # as far as its window allowed when it had not heard of the end
            call.connection.sock.sendall(DataFrame(call.stream, bytes(16384)).serialize() * 16)
        sent.release()
        return None

    server = Http2Server(script)
    with through(server) as lb, client(lb) as h2:
        long = h2.send("GET", "/long")
        h2.head_of(long)
        for _ in range(12):
            stream = h2.send("GET", "/gone")
            h2.head_of(stream)
            h2.reset(stream)
            assert sent.acquire(timeout=TIMEOUT_S)
            h2.ping()
            lb.settle()
        proceed.set()
        assert (h2.answer(long).body, h2.answer(long).reset) == (b"whole", None)
        assert len(server.connections) == 1


def test_a_client_that_goes_away_resets_its_stream_and_no_other() -> None:
    server = Http2Server(lambda call: call.answer() if call.fields[":path"] == "/" else None)
    with through(server) as lb, client(lb) as h2:
        stream = h2.send("GET", "/hang")
        eventually(lambda: server.calls, "the server is asked")
        h2.reset(stream)
        assert server.calls[0].reset.wait(TIMEOUT_S)
        assert h2.ask().body == b"ok"
        assert len(server.connections) == 1


def test_an_answer_that_breaks_off_is_seen_to_be_incomplete() -> None:
    def script(call: Call) -> None:
        call.answer(200, b"half", end=False)
        call.break_off(2)

    server = Http2Server(script)
    with through(server) as lb:
        peer = lb.client()
        peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert not peer.to_the_end().endswith(b"0\r\n\r\n")


def test_time_limits_of_answers() -> None:
    server = Http2Server(lambda call: None)
    timeouts = {"forwardingTimeouts": {"responseHeaderTimeout": "200ms"}}
    with through(server, transport=timeouts) as lb:
        assert lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")[0] == "HTTP/1.1 504 Gateway Timeout"
    assert server.calls[0].reset.wait(TIMEOUT_S)


def test_a_silent_connection_is_pinged_and_given_up() -> None:
    stop = threading.Event()

    def script(call: Call) -> None:
        if call.fields[":path"] == "/dead":
            call.connection.lock.acquire()  # it answers nothing any more
            stop.wait(TIMEOUT_S)
        elif call.fields[":path"] == "/slow":
            time.sleep(1)
            call.answer()

    server = Http2Server(script)
    timeouts = {"forwardingTimeouts": {"readIdleTimeout": "200ms", "pingTimeout": "300ms"}}
    with through(server, transport=timeouts) as lb:
        assert lb.ask(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")[2] == b"ok"
        assert server.connections[0].pings >= 2
        assert " 504 " in lb.ask(b"POST /dead HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")[0]
        stop.set()


@pytest.mark.parametrize("disabled", [False, True])
def test_https_servers_are_offered_http2(tmp_path: Path, disabled: bool) -> None:
    files = certificate(tmp_path, "a", "a.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    context.set_alpn_protocols(["h2"] if not disabled else ["http/1.1"])
    transport: dict[str, Any] = {"insecureSkipVerify": True, "disableHTTP2": disabled}
    if not disabled:
        server = Http2Server(echo, context)
        with through(server, transport=transport) as lb:
            for _ in range(3):
                assert lb.ask(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")[2] == b"GET /x\n"
            assert len(server.connections) == 1
            assert server.calls[0].fields[":scheme"] == "https"
        return
    seen: list[str | None] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        sock = context.wrap_socket(listener.accept()[0], server_side=True)
        seen.append(sock.selected_alpn_protocol())
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    threading.Thread(target=accept, daemon=True).start()
    with edge(config_for(f"https://127.0.0.1:{listener.getsockname()[1]}", transport=transport)) as lb:
        assert lb.ask(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")[2] == b"ok"
    listener.close()
    assert seen == [None]


def test_mirrors_and_fallbacks_over_http2() -> None:
    copies = Http2Server(echo)
    bad = Http2Server(lambda call: call.answer(503))
    with serving() as good:
        services: dict[str, Any] = {
            "bad": {"loadBalancer": {"servers": [{"url": bad.url}]}},
            "good": {"loadBalancer": {"servers": [{"url": good.url}]}},
            "copies": {"loadBalancer": {"servers": [{"url": copies.url}]}},
            "failover": {"failover": {"service": "bad", "fallback": "good", "errors": {"status": ["503"]}}},
            "all": {"mirroring": {"service": "failover", "mirrors": [{"name": "copies", "percent": 100}]}},
        }
        routers = {"all": {"rule": "PathPrefix(`/`)", "service": "all"}}
        with edge({"http": {"routers": routers, "services": services}}) as lb, client(lb) as h2:
            assert h2.ask("POST", "/", body=b"body").body == b"POST / HTTP/1.1\nbody"
            eventually(lambda: copies.calls and copies.calls[0].ended.is_set(), "the copy has come")
            assert copies.calls[0].body == b"body"


def test_health_checks_over_http2() -> None:
    healthy = threading.Event()
    healthy.set()

    def script(call: Call) -> None:
        if call.fields[":path"] == "/health":
            call.answer(200 if healthy.is_set() else 503)
        else:
            call.answer()

    server = Http2Server(script)
    check = {"path": "/health", "interval": "100ms", "timeout": "2s"}
    with through(server, healthCheck=check) as lb:
        eventually(lambda: lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")[2] == b"ok", "it is up")
        healthy.clear()
        eventually(lambda: " 503 " in lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")[0], "it is down")
        healthy.set()
        eventually(lambda: lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")[2] == b"ok", "it is up again")


def test_a_server_that_leaves_the_configuration_keeps_its_requests() -> None:
    release = threading.Event()

    def script(call: Call) -> None:
        release.wait(TIMEOUT_S)
        call.answer()

    server = Http2Server(script)
    with serving() as other, through(server) as lb, client(lb) as h2:
        stream = h2.send()
        eventually(lambda: server.calls, "the server is asked")
        lb.apply(config_for(other.url))
        release.set()
        assert h2.answer(stream).body == b"ok"
        assert h2.ask().body.startswith(b"GET /")


# Websockets (RFC 8441)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # and what answers it: RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def websocket(lb: Edge, *more: str, method: str = "GET", upgrade: str = "websocket", key: str = KEY) -> Peer:
    peer = lb.client()
    head = [f"{method} /chat?room=1 HTTP/1.1", "Host: a.test", "Connection: Upgrade", f"Upgrade: {upgrade}"]
    head += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"] if key else []
    peer.send("\r\n".join([*head, *more, "", ""]).encode())
    return peer


def talks(call: Call) -> None:
    """Agrees, and sends back what comes, until it has ended."""
    call.head(200, ("sec-websocket-protocol", "chat"))
    sent = 0
    while not call.reset.is_set():
        ended = call.ended.is_set()
        if sent < len(call.body):
            data = call.body[sent:]
            sent += len(data)
            call.data(data)
        elif ended:
            return call.data(b"", end=True)
        else:
            time.sleep(0.002)
    return None


def test_a_request_for_a_websocket_becomes_an_extended_connect() -> None:
    server = Http2Server(talks, websockets=True)
    with through(server) as lb:
        for number in range(2):  # over a new connection, and one whose settings are known
            peer = websocket(lb, "Sec-WebSocket-Protocol: chat, other", "X-A: b")
            first, fields = peer.head()
            assert first.split()[1] == "101"
            assert {name.lower(): value for name, value in fields.items()}.items() >= {
                ("connection", "Upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-accept", ACCEPT),
                ("sec-websocket-protocol", "chat"),
            }
            call = server.calls[number]
            assert {name: value for name, value in call.fields.items() if not name.startswith("x-forwarded")} == {
                ":method": "CONNECT",
                ":protocol": "websocket",
                ":scheme": "http",
                ":path": "/chat?room=1",
                ":authority": "a.test",
                "sec-websocket-version": "13",
                "sec-websocket-protocol": "chat, other",
                "x-a": "b",
                "x-real-ip": "127.0.0.1",
            }
            for size in (1, 100, 70000):
                peer.send(b"x" * size)
                assert peer.exactly(size) == b"x" * size
            peer.sock.shutdown(socket.SHUT_WR)
            assert peer.to_the_end() == b""
            eventually(lambda call=call: call.ended.is_set(), "the end")
        assert len(server.connections) == 1


@pytest.mark.parametrize("allowed", [False, True])
def test_the_servers_settings_are_waited_for(allowed: bool) -> None:
    """RFC 8441 section 3: there is no extended CONNECT before the server has allowed it; else it is a plain request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with edge(config_for(f"h2c://127.0.0.1:{listener.getsockname()[1]}")) as lb:
            peer = websocket(lb)
            listener.settimeout(TIMEOUT_S)
            sock, _ = listener.accept()
            with contextlib.closing(Peer(sock)) as server:
                server.exactly(len(PREFACE))
                kinds = [server_frame(server)[0], server_frame(server)[0]]
                assert kinds == [SETTINGS, WINDOW_UPDATE]  # and nothing of the request
                server.send(SettingsFrame(0, settings={8: 1} if allowed else {}).serialize())
                kind, stream, block = server_frame(server)
                if kind == SETTINGS:  # the acknowledgement
                    kind, stream, block = server_frame(server)
                fields = dict(hpack.Decoder().decode(block))
                assert kind == HEADERS
                assert (fields[":method"], ":protocol" in fields) == (("CONNECT", True) if allowed else ("GET", False))
                assert ("sec-websocket-key" in fields) is not allowed
                assert "upgrade" not in fields
                server.send(HeadersFrame(stream, b"\x88", flags=["END_HEADERS", "END_STREAM"]).serialize())
                assert peer.head()[0].split()[1] == ("101" if allowed else "200")


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        DataFrame(1, b"x").serialize(),
        SettingsFrame(0, flags=["ACK"]).serialize(),
    ],
    ids=["HTTP/1", "a frame other than SETTINGS", "an acknowledgement"],
)
def test_a_server_that_does_not_speak_http2_is_a_failure_at_once(said: bytes) -> None:
    """Such a server may stay connected, so that nothing else tells that it will never take a request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT_S)
        with edge(config_for(f"h2c://127.0.0.1:{listener.getsockname()[1]}")) as lb, contextlib.ExitStack() as stack:
            client = stack.enter_context(contextlib.closing(lb.client()))
            client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            server = stack.enter_context(contextlib.closing(Peer(listener.accept()[0])))
            server.exactly(len(PREFACE))
            server.send(said)
            assert client.head()[0].split()[1] == "502"
            server.to_the_end()


def server_frame(peer: Peer) -> tuple[int, int, bytes]:
    """The kind of the next frame, its stream, and what it holds."""
    head = peer.exactly(9)
    return head[3], int.from_bytes(head[5:9], "big"), peer.exactly(int.from_bytes(head[:3], "big"))


@pytest.mark.parametrize(
    ("method", "upgrade", "key"), [("GET", "other", KEY), ("GET", "websocket", ""), ("GET", "websocket, other", KEY)]
)
def test_what_asks_for_no_websocket_is_a_plain_request(method: str, upgrade: str, key: str) -> None:
    server = Http2Server(echo, websockets=True)
    with through(server) as lb:
        peer = websocket(lb, method=method, upgrade=upgrade, key=key)
        assert peer.message()[2] == b"GET /chat?room=1\n"
        assert ":protocol" not in server.calls[0].fields


def test_a_server_that_refuses_a_websocket_answers() -> None:
    def refuses(call: Call) -> None:
        return call.answer(403, b"no") if ":protocol" in call.fields else echo(call)

    server = Http2Server(refuses, websockets=True)
    with through(server) as lb:
        peer = websocket(lb)
        first, _, body = peer.message()
        assert (first.split()[1], body) == ("403", b"no")
        eventually(server.calls[0].reset.is_set, "the end of the stream")
        assert peer.ask(b"GET /after HTTP/1.1\r\nHost: a.test\r\n\r\n")[2] == b"GET /after\n"
        assert len(server.connections) == 1


def test_a_websocket_ends_at_the_server_with_its_client() -> None:
    server = Http2Server(talks, websockets=True)
    with through(server) as lb:
        peer, other = websocket(lb), websocket(lb)
        for each in (peer, other):
            each.head()
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        eventually(lambda: sum(call.reset.is_set() for call in server.calls) == 1, "the reset")
        other.send(b"still")
        assert other.exactly(5) == b"still"
        eventually(lambda: counters(lb, f"all@file|{server.url}").in_flight == 1, "one is left")


@pytest.mark.parametrize("how", ["reset", "connection"])
def test_a_websocket_ends_at_the_client_with_its_server(how: str) -> None:
    server = Http2Server(talks, websockets=True)
    with through(server) as lb:
        peer = websocket(lb)
        peer.head()
        peer.send(b"hello")
        assert peer.exactly(5) == b"hello"
        (call,) = server.calls
        call.break_off(8) if how == "reset" else server.connections[0].sock.shutdown(socket.SHUT_RDWR)
        assert peer.to_the_end() == b""
        eventually(lambda: lb.open_connections == 0, "the end of the connection")


def test_a_server_that_does_not_read_a_websocket_stops_its_client() -> None:
    server = Http2Server(lambda call: call.head(200), reads=False, websockets=True)
    # What the server does not take would hold up the end.
    with edge(config_for(server.url), transport={"lifeCycle": {"graceTimeOut": "100ms"}}) as lb:
        peer = websocket(lb)
        peer.head()
        peer.sock.settimeout(0.3)  # a peer that takes nothing for so long is full
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 64 << 20:
                sent += peer.sock.send(bytes(1 << 16))
        (call,) = server.calls
        assert len(call.body) <= 65535
        assert sent < 32 << 20  # the kernel's buffers
        assert websocket(lb).head()[0].split()[1] == "101"
    server.listener.close()


def test_a_websocket_goes_on_over_reloads() -> None:
    server = Http2Server(talks, websockets=True)
    with through(server) as lb:
        peer = websocket(lb)
        peer.head()
        with serving() as another:
            lb.apply(config_for(another.url))
            for text in (b"one", b"two"):
                peer.send(text)
                assert peer.exactly(3) == text
            assert lb.ask(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")[0].split()[1] == "200"
            lb.apply(config_for(another.url, maxConnections=5))
            peer.send(b"three")
            assert peer.exactly(5) == b"three"
            peer.sock.shutdown(socket.SHUT_WR)
            assert peer.to_the_end() == b""


def close_at_once(connection: Connection) -> None:
    """Reset it, with all that its client has not been sent so far."""
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.sock.shutdown(socket.SHUT_RDWR)  # which ends `serve`
    while connection.sock.fileno() >= 0:
        time.sleep(0.001)


def test_an_answer_is_read_to_its_end_from_a_server_that_takes_no_more() -> None:
    """It has reset the connection when the next request is sent, and the answer is longer than what is read at once."""
    go_on, closed = threading.Event(), threading.Event()

    def script(call: Call) -> None:
        assert go_on.wait(TIMEOUT_S)
        if call.fields[":path"] != "/":
            return call.answer()
        call.answer(200, bytes(50_000))
        close_at_once(call.connection)
        return closed.set()

    server = Http2Server(script)
    with through(server) as lb:
        peer, other = lb.client(), lb.client()
        peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: server.calls, "the server is asked")
        other.send(b"GET")
        lb.settle()

        def all_at_once() -> None:  # before the proxy looks again
            other.send(b" /next HTTP/1.1\r\nHost: a\r\n\r\n")
            go_on.set()
            assert closed.wait(TIMEOUT_S)

        lb._loop.call_soon_threadsafe(all_at_once)
        assert peer.message()[2] == bytes(50_000)


def send_until_nobody_takes_more(call: Call) -> int:
    """Use up the window. Gives the number of bytes."""
    sent = quiet = 0
    while quiet < 20:
        with call.connection.lock:
            count = min(call.connection.h2.local_flow_control_window(call.stream), 16384)
            if count:
                call.connection.h2.send_data(call.stream, bytes(count))
                call.connection.flush()
        sent += count
        quiet = 0 if count else quiet + 1
        if not count:
            time.sleep(0.01)
    return sent


def test_a_slow_client_gets_all_of_an_answer_whose_server_has_closed() -> None:
    sent, proceed = [0], threading.Event()

    def script(call: Call) -> None:
        call.head(200)
        sent[0] = send_until_nobody_takes_more(call)
        call.data(b"", end=True)
        close_at_once(call.connection)
        proceed.set()

    server = Http2Server(script)
    with through(server) as lb:
        peer = lb.client()
        peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert proceed.wait(TIMEOUT_S)
        lb.settle()
        assert len(peer.message()[2]) == sent[0]


@pytest.mark.parametrize("ends_before", [False, True], ids=["broken", "ended"])
def test_a_slow_client_gets_all_of_a_websocket_whose_server_has_closed(ends_before: bool) -> None:
    sent, proceed = [0], threading.Event()

    def script(call: Call) -> None:
        call.head(200)
        sent[0] = send_until_nobody_takes_more(call)
        if ends_before:
            call.data(b"", end=True)
        close_at_once(call.connection)
        proceed.set()

    server = Http2Server(script, websockets=True)
    with through(server) as lb:
        peer = websocket(lb)
        assert peer.head()[0].split()[1] == "101"
        assert proceed.wait(TIMEOUT_S)
        lb.settle()
        assert sent[0] > 262144
        assert len(peer.to_the_end()) == sent[0]
        peer.close()
        eventually(lambda: lb.open_connections == 0, "the end of the connection")
        eventually(lambda: counters(lb, f"all@file|{server.url}").in_flight == 0, "none is left")
