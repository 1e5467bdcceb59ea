"""Connections end so that nothing is lost: refused, half-closed, slow and drained clients get their answers."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

import pytest

from tests.support.instance import eventually
from tests.support.recorder import GET, post, recorders
from tests.support.wire import TIMEOUT_S, Peer, config_for, edge, serving

PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
LATE = {"respondingTimeouts": {"readTimeout": "60s", "headerTimeout": "300ms"}}


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("proxied", [False, True])
def test_client_that_ends_its_side_gets_its_answers(count: int, proxied: bool) -> None:
    with serving() as server, edge(config_for(server.url), static={"ping": {"entryPoint": "web"}}) as lb:
        for _ in range(10):
            client = lb.client()
            client.ask(PING)
            client.send((GET if proxied else PING) * count)
            client.sock.shutdown(socket.SHUT_WR)
            assert client.to_the_end().count(b"HTTP/1.1 200 OK") == count


@pytest.mark.parametrize(
    ("begin", "status"),
    [
        (b"B@D x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 3_000_000 + b"\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b"501"),
        (b"POST /none HTTP/1.1\r\nHost: none\r\nContent-Length: 9000000\r\n\r\n", b"404"),
        (b"POST / HTTP/1.1\r\nHost: down\r\nContent-Length: 9000000\r\n\r\n", b"503"),
    ],
)
def test_refused_client_that_still_sends_reads_its_answer(begin: bytes, status: bytes) -> None:
    with serving() as server:
        dynamic = config_for(server.url)
        dynamic["http"]["routers"]["all"]["rule"] = "Host(`a`)"
        dynamic["http"]["routers"]["down"] = {"rule": "Host(`down`)", "service": "down"}
        dynamic["http"]["services"]["down"] = {"loadBalancer": {"servers": []}}
        with edge(dynamic) as lb:
            for _ in range(3):
                client = lb.client()
                client.send(begin + bytes(3_000_000))  # all of it is taken, however early the answer came
                assert client.to_the_end().startswith(b"HTTP/1.1 " + status)


def test_half_a_head_is_answered_with_408_after_the_header_timeout() -> None:
    with serving() as server, edge(config_for(server.url), transport=LATE) as lb:
        client = lb.client()
        began = time.monotonic()
        client.send(b"GET / HTTP/1.1\r\nHo")
        first, headers, _ = client.message()
        assert first == "HTTP/1.1 408 Request Timeout" and headers["connection"] == "close"
        assert 0.25 < time.monotonic() - began < 10
        client = lb.client()
        client.send(GET[:-2])
        lb.settle()
        client.send(b"\r\n")
        assert client.message()[0].split()[1] == "200"


def test_a_drain_answers_what_has_arrived() -> None:
    clients = []
    with serving() as server:
        with edge(config_for(server.url)) as lb:
            for _ in range(20):
                clients.append(lb.client())
                clients[-1].ask(GET)

            def send_and_drain() -> None:
                for client in clients:
                    client.send(GET)
                assert lb.proxy._plane is not None
                lb.proxy._plane.drain()

            done = []
            lb._loop.call_soon_threadsafe(lambda: (send_and_drain(), done.append(True)))
            eventually(lambda: done, "the drain has begun")
            for client in clients:
                first, headers, _ = client.message()
                assert first.split()[1] == "200" and headers["connection"] == "close"
                assert client.to_the_end() == b""


def test_a_policy_reaches_connections_that_are_older() -> None:
    with recorders("all") as (server,):
        with edge(config_for(server.url, transport={})) as lb:
            assert lb.ask(GET)[0].split()[1] == "200"
            limits = {"forwardingTimeouts": {"responseHeaderTimeout": "300ms"}}
            lb.apply(config_for(server.url, transport=limits))
            server.delay_s = 5
            assert lb.ask(GET)[0].split()[1] == "504"
            assert server.connections == 1


def test_a_client_that_resets_while_its_body_waits_is_let_go() -> None:
    def deaf_server(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        eventually(lambda: gone, "the client has reset")
        with_end.append(peer.to_the_end())

    gone: list[bool] = []
    with_end: list[bytes] = []
    with serving(deaf_server) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.fill(post(bytes(64_000_000)))
        client.close()
        eventually(lambda: lb.open_connections == 0, "the connection is closed", 20)
        gone.append(True)
        eventually(lambda: with_end, "the server's connection is closed", 20)


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_no_switch_to_a_protocol_that_was_not_asked_for(version: bytes) -> None:
    def switch(peer: Peer) -> None:
        head = peer.until(b"\r\n\r\n")
        asked.append(b"Upgrade" in head)
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n")

    asked: list[bool] = []
    with serving(switch) as server, edge(config_for(server.url)) as lb:
        request = b"GET / HTTP/%s\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" % version
        assert lb.ask(request)[0].split()[1] == "502"
        assert asked == [version == b"1.1"]


def test_malformed_answers_on_reused_connections_are_failures() -> None:
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nA"] + [b"bogus\r\n\r\n"] * 9

    def odd(peer: Peer) -> None:
        with contextlib.suppress(EOFError):
            while True:
                peer.until(b"\r\n\r\n")
                peer.send(answers.pop(0))

    check = {"maxFailedAttempts": 3, "failureWindow": "60s"}
    with serving(odd) as server, edge(config_for(server.url, passiveHealthCheck=check)) as lb:
        client = lb.client()
        assert [client.ask(GET)[0].split()[1] for _ in range(6)] == ["200", "502", "502", "502", "503", "503"]


@pytest.mark.parametrize("size", [0, 60_000])
def test_a_client_that_has_gone_behind_requests_that_wait_is_let_go(size: int) -> None:
    """What it has sent last stands unread in front of its end."""

    def deaf_server(peer: Peer) -> None:
        peer.head()
        asked.set()
        assert gone.wait(TIMEOUT_S)

    asked, gone = threading.Event(), threading.Event()
    with serving(deaf_server) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(GET + post(bytes(size)) * 2)
        assert asked.wait(TIMEOUT_S)
        client.close()
        eventually(lambda: lb.open_connections == 0, "the connection is closed", 20)
        gone.set()


@pytest.mark.parametrize("target", ["/", "/none"])
def test_the_end_goes_with_the_last_answer(target: str) -> None:
    """In one packet, and both at once: neither waits for the other."""
    request = f"GET {target} HTTP/1.1\r\nHost: {'x' if target == '/' else 'none'}\r\nConnection: close\r\n\r\n"
    with serving() as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(request.encode())
        assert client.to_the_end().startswith(b"HTTP/1.1 ")
        packets: int = struct.unpack_from("I", client.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 140)[0]
        assert packets <= 3  # tcpi_segs_in: of the handshake, for the request, and this


def test_a_client_that_has_gone_is_let_go_if_its_first_answer_would_have_been_the_last() -> None:
    """Its connection is watched late, see `Reactor.attach_late`."""

    def deaf_server(peer: Peer) -> None:
        peer.head()
        asked.set()
        with contextlib.suppress(OSError):
            ends.append(peer.sock.recv(1))

    asked, ends = threading.Event(), []
    with serving(deaf_server) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert asked.wait(TIMEOUT_S)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        eventually(lambda: lb.open_connections == 0, "the connection is closed", 20)
        eventually(lambda: ends == [b""], "the server's connection is closed", 20)


def test_a_client_that_is_gone_at_a_switch_of_protocols_leaves_no_tunnel() -> None:
    def switch(peer: Peer) -> None:
        peer.head()
        asked.set()
        assert go_on.wait(TIMEOUT_S)
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        switched.set()
        assert gone.wait(TIMEOUT_S)

    asked, go_on, switched, gone = (threading.Event() for _ in range(4))
    with serving(switch) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert asked.wait(TIMEOUT_S)

        def both_at_once() -> None:  # before the proxy looks again
            go_on.set()
            assert switched.wait(TIMEOUT_S)
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()

        lb._loop.call_soon_threadsafe(both_at_once)
        assert switched.wait(TIMEOUT_S)
        eventually(lambda: lb.open_connections == 0, "the connection is closed", 20)
        gone.set()


def test_the_beginning_of_http2_has_the_time_of_a_head() -> None:
    timeouts = {"respondingTimeouts": {"readTimeout": "0s", "headerTimeout": "300ms"}}
    with serving() as server, edge(config_for(server.url), transport=timeouts) as lb:
        client = lb.client()
        client.send(b"PRI * HTTP/2.0\r\n\r\n")
        assert client.to_the_end().startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("more", [b"\r\n", GET])
def test_bytes_that_come_behind_the_last_request_do_not_destroy_its_answer(more: bytes, watched: bool) -> None:
    """They are not seen before it is sent: the connection is watched late, or its event comes behind the server's."""

    def script(peer: Peer) -> None:
        if watched:
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        peer.head()
        asked.set()
        assert go_on.wait(TIMEOUT_S)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast")
        answered.set()

    asked, go_on, answered = (threading.Event() for _ in range(3))
    with serving(script) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        if watched:
            client.ask(GET)
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert asked.wait(TIMEOUT_S)

        def both_at_once() -> None:  # before the proxy looks again
            go_on.set()
            assert answered.wait(TIMEOUT_S)
            client.send(more)

        lb._loop.call_soon_threadsafe(both_at_once)
        assert client.to_the_end().endswith(b"last")
