"""HTTP/3 from clients, to servers that speak HTTP/1: what each side sees."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pycurl
import pytest
from aioquic.h3.connection import Setting

from tests.support.certificates import Files, certificate
from tests.support.http3 import http3
from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.udp import UdpClient, servers, udp
from tests.support.wire import Edge, Peer, Script, answer_all, config_for, edge, serving
from tests.wire.test_http2 import switching

NO_ERROR, INTERNAL_ERROR, CANCELLED, MESSAGE_ERROR = 0x100, 0x102, 0x10C, 0x10E


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    folder = tmp_path_factory.mktemp("certificates")
    return {"a": certificate(folder, "a", "a.test", "localhost"), "b": certificate(folder, "b", "b.test")}


def secured(url: str, *files: Files, **more: Any) -> dict[str, Any]:
    dynamic = config_for(url)
    dynamic["http"]["routers"]["all"]["tls"] = {}
    return {**dynamic, "tls": {"certificates": [each.entry for each in files], **more}}


@contextlib.contextmanager
def quic_edge(
    made: dict[str, Files], script: Script = answer_all, more: dict[str, Any] | None = None, **entry_point: Any
) -> Iterator[Edge]:
    with (
        serving(script) as server,
        edge(secured(server.url, *made.values(), **(more or {})), http3={}, **entry_point) as lb,
    ):
        yield lb


class Heads:
    """A server that notes the heads and bodies it is sent, and answers with the same each time."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") -> None:
        self.answer = answer
        self.seen: list[tuple[str, dict[str, str], bytes]] = []

    def __call__(self, peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                self.seen.append(peer.message())
                peer.send(self.answer)


# Requests and answers


def test_a_request_becomes_one_of_http1_and_its_answer_goes_back(made: dict[str, Files]) -> None:
    extra = b"X-Mixed: Case\r\nConnection: x-gone\r\nX-Gone: 1\r\n"
    heads = Heads(b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n" + extra + b"\r\nhello")
    with quic_edge(made, heads) as lb, http3(lb.address) as h3:
        answer = h3.ask("PUT", "/a%20b?c=d", ("x-one", "1"), ("te", "trailers"), body=b"text")
        assert (answer.status, answer.body) == (201, b"hello")
        assert answer.head["x-mixed"] == "Case"
        assert answer.head["content-length"] == "5"
        assert "date" in answer.head
        assert not {"connection", "x-gone", "transfer-encoding", "alt-svc"} & set(answer.head)
    first, headers, body = heads.seen[0]
    assert first == "PUT /a%20b?c=d HTTP/1.1"
    assert headers["host"] == "a.test"
    assert headers["x-one"] == "1"
    assert headers["transfer-encoding"] == "chunked"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert body == b"text"


def curl_to(lb: Edge, made: dict[str, Files], path: str) -> pycurl.Curl:
    assert isinstance(lb.address, tuple)
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, f"https://localhost:{lb.address[1]}{path}")
    curl.setopt(pycurl.RESOLVE, [f"localhost:{lb.address[1]}:127.0.0.1"])
    curl.setopt(pycurl.HTTP_VERSION, 31)  # CURL_HTTP_VERSION_3ONLY
    curl.setopt(pycurl.CAINFO, str(made["a"].certificate))
    curl.setopt(pycurl.TIMEOUT, 60)
    return curl


def test_curl_speaks_it(made: dict[str, Files]) -> None:
    with quic_edge(made) as lb:
        curl = curl_to(lb, made, "/from-curl")
        for _ in range(3):
            assert curl.perform_rb() == b"GET /from-curl HTTP/1.1\n"
            assert curl.getinfo(pycurl.RESPONSE_CODE) == 200
        curl.setopt(pycurl.POSTFIELDS, "x" * 300000)
        assert curl.perform_rb() == b"POST /from-curl HTTP/1.1\n" + b"x" * 300000
        curl.close()


def test_many_streams_of_one_connection_at_once(made: dict[str, Files]) -> None:
    with quic_edge(made) as lb, http3(lb.address) as h3:
        streams = [h3.open("GET", f"/{number}") for number in range(100)]
        assert [h3.answer(stream).body for stream in streams] == [
            b"GET /%d HTTP/1.1\n" % number for number in range(100)
        ]
        assert lb.open_connections == 1


def test_large_bodies_both_ways(made: dict[str, Files]) -> None:
    body = bytes(range(256)) * 12000
    with quic_edge(made) as lb, http3(lb.address) as h3:
        answer = h3.ask("POST", "/", body=body)
        assert answer.body == b"POST / HTTP/1.1\n" + body


def test_trailers_both_ways(made: dict[str, Files]) -> None:
    seen = []

    def script(peer: Peer) -> None:
        peer.head()
        seen.append(peer.chunks())
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n")
        peer.send(b"2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n")

    with quic_edge(made, script) as lb, http3(lb.address) as h3:
        stream = h3.open("POST", "/", ("te", "trailers"), ("trailer", "x-of-client"), end=False)
        h3.data(stream, b"abc")
        h3.http.send_headers(stream, [(b"x-of-client", b"1")], end_stream=True)
        answer = h3.answer(stream)
        assert (answer.body, answer.trailers) == (b"ok", {"x-sum": "7"})
    assert seen == [(b"abc", b"x-of-client: 1\r\n")]


def test_interim_answers_and_100_continue(made: dict[str, Files]) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        peer.chunks()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with quic_edge(made, script) as lb, http3(lb.address) as h3:
        stream = h3.open("POST", "/", ("expect", "100-continue"), end=False)
        h3.until(lambda: len(h3.answer_of(stream).interims) == 2)
        h3.data(stream, b"abc", end=True)
        answer = h3.answer(stream)
        assert sorted(each[":status"] for each in answer.interims) == ["100", "103"]
        assert answer.status == 200


def test_head_has_a_length_and_no_body(made: dict[str, Files]) -> None:
    with quic_edge(made) as lb:
        curl = curl_to(lb, made, "/")
        curl.setopt(pycurl.NOBODY, True)
        assert curl.perform_rb() == b""
        assert curl.getinfo(pycurl.RESPONSE_CODE) == 200
        assert curl.getinfo(pycurl.CONTENT_LENGTH_DOWNLOAD) > 0
        curl.setopt(pycurl.NOBODY, False)
        curl.setopt(pycurl.HTTPGET, True)
        assert curl.perform_rb() == b"GET / HTTP/1.1\n"
        curl.close()


def test_answers_of_lbcore_itself(made: dict[str, Files]) -> None:
    with (
        edge({"http": {}, "tls": {"certificates": [made["a"].entry]}}, http3={}, http={"tls": {}}) as lb,
        http3(lb.address) as h3,
    ):
        h3.handshake()
        assert h3.terminated is not None or h3.ask().status == 404


@pytest.mark.parametrize(
    "fields",
    [
        [("X-Upper", "1")],
        [("connection", "close")],
        [("transfer-encoding", "chunked")],
        [(":method", "GET")],
        [("content-length", "5")],
    ],
)
def test_a_malformed_request_ends_its_stream_and_no_other(
    made: dict[str, Files], fields: list[tuple[str, str]]
) -> None:
    heads = Heads()
    with quic_edge(made, heads) as lb, http3(lb.address) as h3:
        stream = h3.open("GET", "/", *fields)
        answer = h3.answer(stream)
        assert answer.reset == MESSAGE_ERROR or (answer.head and answer.status == 400)
        assert h3.ask("GET", "/next").status == 200
    assert [each[0] for each in heads.seen] == ["GET /next HTTP/1.1"]


def test_a_line_end_in_a_value_reaches_no_server(made: dict[str, Files]) -> None:
    """The library leaves such a field out."""
    heads = Heads()
    with quic_edge(made, heads) as lb, http3(lb.address) as h3:
        h3.ask("GET", "/", ("x", "a\r\nb: c"))
        assert h3.ask("GET", "/next").status == 200
    assert all(not {"x", "b"} & set(headers) for _, headers, _ in heads.seen)


def test_a_head_too_large_is_refused(made: dict[str, Files]) -> None:
    with quic_edge(made, http={"maxHeaderBytes": 2000}) as lb, http3(lb.address) as h3:
        assert h3.ask("GET", "/", ("x", "y" * 3000)).status == 431
        assert h3.ask().status == 200


# Flow control


def test_a_server_that_takes_no_body_stops_the_client(made: dict[str, Files]) -> None:
    may_read = threading.Event()

    def script(peer: Peer) -> None:
        first, _ = peer.head()
        if "other" in first:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        assert may_read.wait(60)
        with contextlib.suppress(OSError, EOFError):
            peer.chunks()

    size = 32 << 20
    with quic_edge(made, script) as lb, http3(lb.address) as h3:
        stream = h3.open("POST", "/", end=False)
        h3.data(stream, b"x" * size, end=True)
        sender = h3.quic._streams[stream].sender
        sent = -1
        while sender._buffer_start > sent or sender._buffer_start == 0:  # it stops
            sent = sender._buffer_start
            for _ in range(8):
                h3.turn()
        assert sent < size
        assert h3.ask("GET", "/other").body == b"ok"
        may_read.set()
        h3.until(lambda: sender._buffer_start > sent + (1 << 20))


def test_a_client_that_takes_no_answer_stops_the_server(made: dict[str, Files]) -> None:
    size = 32 << 20
    put = [0]

    def script(peer: Peer) -> None:
        first, _, _ = peer.message()
        if "small" in first:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        piece = b"x" * 65536
        with contextlib.suppress(OSError):
            while put[0] < size:
                peer.send(piece)
                put[0] += len(piece)

    with quic_edge(made, script) as lb, http3(lb.address, max_stream_data=100000) as h3:
        grow = h3.quic._write_stream_limits
        h3.quic._write_stream_limits = lambda *args, **kwargs: None
        stream = h3.open("GET", "/")
        h3.until(lambda: len(h3.answer_of(stream).body) > 90000)
        before = -1
        while put[0] != before:
            before = put[0]
            for _ in range(8):
                h3.turn()
        assert put[0] < size
        h3.quic._write_stream_limits = grow
        assert h3.ask("GET", "/small").body == b"ok"
        h3.until(lambda: len(h3.answer_of(stream).body) > 2 << 20)


def test_a_websocket_over_a_stream(made: dict[str, Files]) -> None:
    with quic_edge(made, switching) as lb, http3(lb.address) as h3:
        h3.until(lambda: h3.http.received_settings is not None)
        assert (h3.http.received_settings or {}).get(8) == 1  # SETTINGS_ENABLE_CONNECT_PROTOCOL, RFC 9220
        stream = h3.quic.get_next_available_stream_id()
        head = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "https", ":authority": "a.test"}
        head |= {":path": "/chat", "sec-websocket-version": "13"}
        h3.http.send_headers(stream, [(name.encode(), value.encode()) for name, value in head.items()])
        h3.data(stream, b"abc")
        h3.until(lambda: h3.answer_of(stream).body == b"hello ABC")
        h3.data(stream, b"", end=True)
        answer = h3.answer(stream)
        assert (answer.status, answer.body) == (200, b"hello ABC bye")


# Ends


def test_a_request_that_is_cancelled_ends_at_the_server(made: dict[str, Files]) -> None:
    gone, arrived = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        arrived.set()
        with contextlib.suppress(OSError):
            while peer.sock.recv(1000):
                pass
        gone.set()

    with quic_edge(made, script) as lb, http3(lb.address) as h3:
        stream = h3.open("GET", "/")
        h3.until(arrived.is_set)
        h3.quic.stop_stream(stream, CANCELLED)
        h3.until(gone.is_set)
        gone.clear()
        arrived.clear()
        stream = h3.open("POST", "/", end=False)
        h3.data(stream, b"abc")
        h3.until(arrived.is_set)
        h3.quic.reset_stream(stream, CANCELLED)
        h3.until(gone.is_set)
        assert h3.terminated is None


def test_a_broken_answer_is_not_taken_for_a_whole_one(made: dict[str, Files]) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    with quic_edge(made, script) as lb, http3(lb.address) as h3:
        answer = h3.answer(h3.open())
        assert answer.reset == INTERNAL_ERROR
        assert not answer.ended


def test_an_answer_before_the_request_is_complete(made: dict[str, Files]) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")

    with quic_edge(made, script) as lb, http3(lb.address) as h3:
        stream = h3.open("POST", "/", end=False)
        h3.data(stream, b"x" * 1000)
        answer = h3.answer(stream)
        assert (answer.status, answer.body, answer.ended) == (413, b"no", True)
        h3.until(lambda: h3.answer_of(stream).stopped is not None)
        assert answer.stopped == NO_ERROR


def test_the_client_closes_the_connection(made: dict[str, Files]) -> None:
    with quic_edge(made) as lb:
        with http3(lb.address) as h3:
            assert h3.ask().status == 200
            assert lb.open_connections == 1
        eventually(lambda: lb.open_connections == 0, "the connections")


def test_goaway_when_it_drains_and_streams_end_well(made: dict[str, Files]) -> None:
    may_answer = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        assert may_answer.wait(30)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serving(script) as server:
        with contextlib.ExitStack() as stack:
            lb = stack.enter_context(edge(secured(server.url, made["a"]), http3={}))
            h3 = stack.enter_context(http3(lb.address))
            stream = h3.open()
            for _ in range(3):
                h3.turn()
            engine: Any = lb.proxy._plane

            def drain() -> None:
                engine.stop_accepting()
                engine.drain()

            lb._loop.call_soon_threadsafe(drain)
            for _ in range(10):
                h3.turn()
            with http3(lb.address) as other:
                other.handshake()
                assert other.terminated is not None
                assert other.terminated.error_code == 2  # CONNECTION_REFUSED
            may_answer.set()
            assert h3.answer(stream).body == b"ok"
            h3.until(lambda: h3.terminated is not None)
            assert h3.terminated is not None
            assert h3.terminated.error_code == NO_ERROR


# Connections


def test_the_address_may_change(made: dict[str, Files]) -> None:
    with quic_edge(made) as lb, http3(lb.address) as h3:
        assert h3.ask().status == 200
        for _ in range(12):
            h3.move()
            h3.quic.change_connection_id()
            assert h3.ask("POST", "/", body=b"x" * 50000).body.endswith(b"x" * 50000)
        assert lb.open_connections == 1


def test_keys_are_updated(made: dict[str, Files]) -> None:
    with quic_edge(made) as lb, http3(lb.address) as h3:
        for _ in range(4):
            assert h3.ask().status == 200
            h3.quic.request_key_update()
        assert h3.ask().status == 200


def test_packets_are_lost(made: dict[str, Files]) -> None:
    count = [0]

    def lost(_: bytes) -> bool:
        count[0] += 1
        return count[0] % 7 == 0

    with quic_edge(made) as lb, http3(lb.address) as h3:
        h3.lost = lost
        body = bytes(range(256)) * 800
        assert h3.ask("POST", "/", body=body).body == b"POST / HTTP/1.1\n" + body


def test_an_idle_connection_ends(made: dict[str, Files]) -> None:
    timeouts = {"respondingTimeouts": {"idleTimeout": "1s"}}
    with quic_edge(made, transport=timeouts) as lb, http3(lb.address) as h3:
        assert h3.ask().status == 200
        eventually(lambda: lb.open_connections == 0, "the connections")


def test_a_request_under_way_outlives_the_idle_timeout_of_the_client(made: dict[str, Files]) -> None:
    """The client is asked for a sign of life."""
    may_answer = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        may_answer.wait(30)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with (
        quic_edge(made, script, transport={"respondingTimeouts": {"idleTimeout": "2s"}}) as lb,
        http3(lb.address) as h3,
    ):
        stream = h3.open()
        threading.Timer(5, may_answer.set).start()
        assert h3.answer(stream).body == b"ok"


# Handshakes


def test_the_name_chooses_the_certificate(made: dict[str, Files]) -> None:
    with quic_edge(made) as lb:
        for name in ("a.test", "b.test"):
            with http3(lb.address, name) as h3:
                assert h3.ask(host=name).status == 200
                certificate = h3.quic.tls._peer_certificate
                assert certificate is not None
                assert name.encode() in certificate.tbs_certificate_bytes


def test_strict_names_and_reloads(made: dict[str, Files]) -> None:
    more = {"options": {"default": {"sniStrict": True}}}
    with serving() as server, edge(secured(server.url, made["a"], **more), http3={}) as lb, http3(lb.address) as old:
        assert old.ask().status == 200
        with http3(lb.address, "b.test") as h3:
            h3.handshake()
            assert h3.terminated is not None
            assert h3.terminated.error_code == 0x100 + 112  # unrecognized_name
        lb.apply(secured(server.url, made["a"], made["b"], **more))
        with http3(lb.address, "b.test") as h3:
            assert h3.ask(host="b.test").status == 200
        assert old.ask().status == 200


def test_http1_and_http2_are_told_of_it(made: dict[str, Files]) -> None:
    with serving() as server, edge(secured(server.url, made["a"]), http3={"advertisedPort": 4433}) as lb:
        context = ssl.create_default_context(cafile=str(made["a"].certificate))
        peer = lb.client()
        peer.sock = context.wrap_socket(peer.sock, server_hostname="a.test")
        _, headers, _ = peer.ask(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert headers["alt-svc"] == 'h3=":4433"; ma=2592000'
        plain = lb.client()
        _, headers, _ = plain.ask(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert "alt-svc" not in headers


def test_http3_and_udp_go_side_by_side(made: dict[str, Files]) -> None:
    """On one number of a port, at two addresses: each packet of QUIC is the one's, each other datagram the other's."""
    with servers("a") as (datagrams,), serving() as server:
        port = free_port()
        points = {
            "web": {"address": f"127.0.0.1:{port}", "http3": {}},
            "udp": {"address": f"127.0.0.2:{port}/udp", "udp": {"timeout": "1h"}},
        }
        for point in points.values():
            point["transport"] = {"lifeCycle": {"graceTimeOut": 0}}
        with edge({**secured(server.url, *made.values()), **udp([datagrams.address])}, points) as lb:
            with http3(lb.address) as h3, contextlib.closing(UdpClient(port, host="127.0.0.2")) as client:
                for turn in range(5):
                    assert h3.ask("GET", f"/{turn}").status == 200
                    assert client.ask(b"%d" % turn) == b"a %d" % turn
                # What is QUIC to the one is a datagram as any to the other.
                packet = bytes([0xC0]) + bytes(1199)
                assert client.ask(packet) == b"a " + packet
                assert h3.ask().status == 200


def test_the_size_of_the_table_for_fields_is_told(made: dict[str, Files]) -> None:
    cases: list[tuple[dict[str, int], int]] = [({}, 4096), ({"maxDecoderHeaderTableSize": 1000}, 1000)]
    for settings, expected in cases:
        with quic_edge(made, http2=settings) as lb, http3(lb.address) as h3:
            assert h3.ask().status == 200
            assert h3.http.received_settings is not None
            assert h3.http.received_settings[Setting.QPACK_MAX_TABLE_CAPACITY] == expected
