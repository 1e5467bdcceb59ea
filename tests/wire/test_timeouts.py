"""Each timeout of the data plane: not early and not late, at once and after a quiet spell. Tests drive the clock."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from lbcore.transport.resolver import Resolver
from tests.support.instance import eventually
from tests.support.native import with_steps
from tests.support.wire import Edge, Peer, Server, deaf, edge

TICKS_MS = 100  # a timer may be two ticks late
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SENTINEL = b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n"  # no router takes it: the proxy itself answers
QUIET = pytest.mark.parametrize("quiet_ms", [0, 110_000, 3_600_000])


def config(url: str, transport: Mapping[str, Any] | None = None, **balancer: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"servers": [{"url": url}], **balancer}
    if transport is not None:
        settings["serversTransport"] = "custom"
    return {
        "http": {
            "routers": {"a": {"rule": "Host(`a`)", "service": "a"}},
            "services": {"a": {"loadBalancer": settings}},
            "serversTransports": {"custom": dict(transport or {})},
        }
    }


def settle(lb: Edge) -> None:
    """Until the proxy has seen all that was sent to it: it answers what was sent after that."""
    client = lb.client()
    client.ask(SENTINEL)
    client.close()


def is_silent(peer: Peer) -> bool:
    """Whether nothing has come, neither bytes nor the end."""
    peer.sock.setblocking(False)
    try:
        peer.sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except ConnectionError:
        pass
    finally:
        peer.sock.settimeout(30)
    return False


def fires(lb: Edge, timeout_ms: int, fired: Callable[[], bool]) -> None:
    """Drive the clock to just before a timeout that was set now, and to two ticks after it."""
    settle(lb)
    lb.drive(timeout_ms - 1)
    settle(lb)
    assert not fired(), "early"
    lb.drive(1 + TICKS_MS)
    eventually(fired, "late", 10)


class Held(Server):
    """A server that does with a connection what a test says, and keeps it open until the end."""

    def __init__(self, script: Callable[[Peer], None] = lambda peer: None) -> None:
        self.peers: list[Peer] = []
        self.done = threading.Event()

        def hold(peer: Peer) -> None:
            self.peers.append(peer)
            with contextlib.suppress(EOFError, OSError):
                script(peer)
            self.done.wait(60)

        super().__init__(hold)

    def close(self) -> None:
        self.done.set()
        super().close()


@contextlib.contextmanager
def held(script: Callable[[Peer], None] = lambda peer: None) -> Iterator[Held]:
    server = Held(script)
    try:
        yield server
    finally:
        server.close()


def answer(peer: Peer) -> None:
    while True:
        peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def responding(**timeouts: str) -> dict[str, Any]:
    return {"transport": {"respondingTimeouts": timeouts}}


@QUIET
@pytest.mark.parametrize("sent", [GET[:10], b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"])
def test_read_timeout(sent: bytes, quiet_ms: int) -> None:
    with held(lambda peer: peer.head()) as server, edge(config(server.url), **responding(readTimeout="2s")) as lb:
        lb.drive(quiet_ms)
        client = lb.client()
        client.send(sent)
        if sent.startswith(b"POST"):
            eventually(lambda: server.peers, "the server is asked")
        fires(lb, 2000, lambda: not is_silent(client))
        client.close()


@QUIET
def test_write_timeout(quiet_ms: int) -> None:
    with held() as server, edge(config(server.url), **responding(writeTimeout="2s")) as lb:
        lb.drive(quiet_ms)
        client = lb.client()
        client.send(GET)
        eventually(lambda: server.peers, "the server is asked")
        fires(lb, 2000, lambda: not is_silent(client))
        client.close()


@pytest.mark.parametrize("of_server", [False, True])
def test_a_timeout_below_a_millisecond_is_a_limit(of_server: bool) -> None:
    transport = {"forwardingTimeouts": {"responseHeaderTimeout": "500us"}} if of_server else None
    timeouts = {} if of_server else responding(writeTimeout="500us")
    with held() as server, edge(config(server.url, transport), **timeouts) as lb:
        client = lb.client()
        client.send(GET)
        eventually(lambda: server.peers, "the server is asked")
        lb.drive(1 + TICKS_MS)
        eventually(lambda: not is_silent(client), "there was no limit", 10)
        client.close()


@QUIET
def test_idle_timeout(quiet_ms: int) -> None:
    with held(answer) as server, edge(config(server.url), **responding(idleTimeout="3s")) as lb:
        lb.drive(quiet_ms)
        client = lb.client()
        client.ask(GET)
        fires(lb, 3000, lambda: not is_silent(client))
        assert client.to_the_end() == b""
        client.close()


@QUIET
def test_without_a_time_for_being_idle_it_is_that_of_a_request(quiet_ms: int) -> None:
    """As in Go; -1s is none."""
    timeouts = responding(idleTimeout="0s", readTimeout="3s")
    with held(answer) as server, edge(config(server.url), **timeouts) as lb:
        lb.drive(quiet_ms)
        client = lb.client()
        client.ask(GET)
        fires(lb, 3000, lambda: not is_silent(client))
        assert client.to_the_end() == b""
        client.close()
    timeouts = responding(idleTimeout="-1s", readTimeout="3s")
    with held(answer) as server, edge(config(server.url), **timeouts) as lb:
        lb.drive(quiet_ms)
        client = lb.client()
        client.ask(GET)
        lb.drive(600_000)
        assert client.ask(GET)[0] == "HTTP/1.1 200 OK"
        client.close()


@QUIET
def test_keep_alive_max_time(quiet_ms: int) -> None:
    with held(answer) as server, edge(config(server.url), transport={"keepAliveMaxTime": "3s"}) as lb:
        lb.drive(quiet_ms)
        client = lb.client()
        assert "connection" not in client.ask(GET)[1]
        lb.drive(2999)
        assert "connection" not in client.ask(GET)[1]
        lb.drive(1)
        assert client.ask(GET)[1]["connection"] == "close"
        client.close()


@QUIET
def test_dial_timeout(quiet_ms: int) -> None:
    transport = {"forwardingTimeouts": {"dialTimeout": "2s"}}
    with deaf() as port, edge(config(f"http://127.0.0.1:{port}", transport)) as lb:
        lb.drive(quiet_ms)
        client = lb.client()
        client.send(GET)
        fires(lb, 2000, lambda: not is_silent(client))
        assert client.message()[0] == "HTTP/1.1 504 Gateway Timeout"
        client.close()


@QUIET
def test_response_header_timeout(quiet_ms: int) -> None:
    transport = {"forwardingTimeouts": {"responseHeaderTimeout": "2s"}}
    with held(lambda peer: peer.head()) as server, edge(config(server.url, transport)) as lb:
        lb.drive(quiet_ms)
        client = lb.client()
        client.send(GET)
        eventually(lambda: server.peers, "the server is asked")
        fires(lb, 2000, lambda: not is_silent(client))
        assert client.message()[0] == "HTTP/1.1 504 Gateway Timeout"
        client.close()


@QUIET
def test_time_to_a_hedge(quiet_ms: int) -> None:
    with held(lambda peer: peer.head()) as server, held(lambda peer: peer.head()) as other:
        dynamic = config(server.url)
        dynamic["http"]["services"]["a"]["loadBalancer"]["servers"].append({"url": other.url})
        dynamic["http"]["middlewares"] = {"again": {"retry": {"attempts": 2, "hedging": {"after": "700ms"}}}}
        dynamic["http"]["routers"]["a"]["middlewares"] = ["again"]
        with edge(dynamic) as lb:
            lb.drive(quiet_ms)
            client = lb.client()
            client.send(GET)
            eventually(lambda: server.peers, "the server is asked")
            fires(lb, 700, lambda: bool(other.peers))
            client.close()


@QUIET
def test_lingering_close(quiet_ms: int) -> None:
    """A refused request of which more is to come: its client is read past while it says nothing for two seconds."""
    with held() as server, edge(config(server.url)) as lb:
        lb.drive(quiet_ms)
        client = lb.client()
        client.send(b"POST / HTTP/1.1\r\nHost: nobody\r\nContent-Length: 100000\r\n\r\nabc")
        assert client.message()[0] == "HTTP/1.1 404 Not Found"
        eventually(lambda: lb.open_connections == 1, "it lingers")
        fires(lb, 2000, lambda: lb.open_connections == 0)
        client.close()


@QUIET
def test_wait_for_100_continue(quiet_ms: int) -> None:
    """A server that says nothing to `Expect` is sent the body after a second."""
    with held(lambda peer: peer.message()) as server, edge(config(server.url)) as lb:
        lb.drive(quiet_ms)
        client = lb.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        eventually(lambda: server.peers, "the server is asked")
        fires(lb, 1000, lambda: not is_silent(client))
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.close()


def test_wait_in_the_queue() -> None:
    limited = config("", queue={"timeout": "60s"})
    with held(lambda peer: peer.head()) as server:
        limited["http"]["services"]["a"]["loadBalancer"]["servers"] = [{"url": server.url, "maxConnections": 1}]
        with edge(limited) as lb:
            first, second = lb.client(), lb.client()
            first.send(GET)
            eventually(lambda: server.peers, "the server is asked")
            second.send(GET)
            settle(lb)
            lb.drive()
            lb.drive(59_000)  # it lined up by the clock of the kernel, a moment before
            settle(lb)
            assert is_silent(second), "early"
            lb.drive(1_000)
            eventually(lambda: not is_silent(second), "late", 10)
            assert second.message()[0] == "HTTP/1.1 503 Service Unavailable"
            first.close()
            second.close()


def tcp(server: Server, **more: Any) -> dict[str, Any]:
    address = server.url.removeprefix("http://")
    service = {"loadBalancer": {"servers": [{"address": address}], **more}}
    return {
        "http": {"routers": {}, "services": {}},
        "tcp": {
            "routers": {"a": {"rule": "HostSNI(`*`)", "service": "a", "entryPoints": ["l4"]}},
            "services": {"a": service},
        },
    }


POINTS = {"web": {"address": "127.0.0.1:0"}, "l4": {"address": "127.0.0.1:0"}}


@QUIET
def test_termination_delay(quiet_ms: int) -> None:
    with held(lambda peer: peer.send(b"hello\n")) as server, edge(tcp(server, terminationDelay=2000), POINTS) as lb:
        lb.drive(quiet_ms)
        client = lb.client("l4")
        client.until(b"\n")
        client.sock.shutdown(socket.SHUT_WR)
        fires(lb, 2000, lambda: not is_silent(client))
        assert client.to_the_end() == b""
        client.close()


@QUIET
def test_dial_timeout_of_layer_4(quiet_ms: int) -> None:
    with held() as server, deaf() as port:
        dynamic = tcp(server, serversTransport="t")
        dynamic["tcp"]["serversTransports"] = {"t": {"dialTimeout": "2s"}}
        dynamic["tcp"]["services"]["a"]["loadBalancer"]["servers"] = [{"address": f"127.0.0.1:{port}"}]
        with edge(dynamic, POINTS) as lb:
            lb.drive(quiet_ms)
            client = lb.client("l4")
            fires(lb, 2000, lambda: not is_silent(client))
            assert client.to_the_end() == b""
            client.close()


@QUIET
@pytest.mark.parametrize("sent", [b"P", b"PROXY TCP4 192.0.2.1 "])
def test_proxy_header(sent: bytes, quiet_ms: int) -> None:
    points = {
        "web": {"address": "127.0.0.1:0"},
        "behind": {"address": "127.0.0.1:0", "proxyProtocol": {"insecure": True}, **responding(readTimeout="2s")},
    }
    with held() as server, edge(config(server.url), points) as lb:
        lb.drive(quiet_ms)
        client = lb.client("behind")
        client.send(sent)
        fires(lb, 2000, lambda: not is_silent(client))
        assert client.to_the_end() == b""
        client.close()


@QUIET
def test_deadline_of_a_copy(quiet_ms: int) -> None:
    asked = threading.Event()

    def read(peer: Peer) -> None:
        peer.head()
        asked.set()

    with held(answer) as main, held(read) as mirror:
        dynamic = config(main.url)
        services = dynamic["http"]["services"]
        services["main"], services["b"] = services["a"], {"loadBalancer": {"servers": [{"url": mirror.url}]}}
        services["a"] = {"mirroring": {"service": "main", "mirrors": [{"name": "b", "percent": 100}], "timeout": "2s"}}
        with edge(dynamic) as lb:
            lb.drive(quiet_ms)
            client = lb.client()
            assert client.ask(GET)[0] == "HTTP/1.1 200 OK"
            assert asked.wait(30)
            fires(lb, 2000, lambda: not is_silent(mirror.peers[0]))
            client.close()


@QUIET
def test_idle_connections_to_servers(quiet_ms: int) -> None:
    transport = {"forwardingTimeouts": {"idleConnTimeout": "2s"}}
    with held(lambda peer: answer_once(peer)) as server, edge(config(server.url, transport)) as lb:
        lb.drive(quiet_ms)
        client = lb.client()
        assert client.ask(GET)[0] == "HTTP/1.1 200 OK"
        fires(lb, 2000, lambda: not is_silent(server.peers[0]))
        client.close()


def answer_once(peer: Peer) -> None:
    peer.message()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@QUIET
def test_resolving_a_name_counts_to_the_dial_timeout(quiet_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that takes long: the request ends when the time of a connection is over, or goes on with what is left."""
    go = threading.Event()
    asked = threading.Event()
    resolve = Resolver._ask

    async def slowly(resolver: Resolver, host: str, port: int) -> None:
        asked.set()
        await asyncio.to_thread(go.wait, 60)
        await resolve(resolver, host, port)

    monkeypatch.setattr(Resolver, "_ask", slowly)
    transport = {"forwardingTimeouts": {"dialTimeout": "2s"}}
    with deaf() as port, edge(config(f"http://localhost:{port}", transport)) as lb:
        lb.drive(quiet_ms)
        first = lb.client()
        first.send(GET)
        assert asked.wait(30)
        fires(lb, 2000, lambda: not is_silent(first))
        assert first.message()[0] == "HTTP/1.1 504 Gateway Timeout"
        second = lb.client()
        second.send(GET)
        settle(lb)
        lb.drive(1500)
        go.set()
        settle(lb)
        fires(lb, 500, lambda: not is_silent(second))
        assert second.message()[0] == "HTTP/1.1 504 Gateway Timeout"
        first.close()
        second.close()


@QUIET
def test_least_rate_of_a_body(quiet_ms: int) -> None:
    """480 bytes at 240 a second are good for two seconds more than the ten that every body is given."""
    with held(lambda peer: peer.head()) as server, edge(config(server.url), responding_points(readTimeout="60s")) as lb:
        lb.drive(quiet_ms)
        client = lb.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + bytes(480))
        eventually(lambda: server.peers, "the server is asked")
        fires(lb, 12000, lambda: not is_silent(client))
        assert client.message()[0] == "HTTP/1.1 408 Request Timeout"
        client.close()


@QUIET
def test_header_timeout(quiet_ms: int) -> None:
    with held() as server, edge(config(server.url), responding_points(headerTimeout="2s")) as lb:
        lb.drive(quiet_ms)
        client = lb.client()
        client.send(b"GET / HTTP/1.1\r\n")
        fires(lb, 2000, lambda: not is_silent(client))
        assert client.message()[0] == "HTTP/1.1 408 Request Timeout"
        client.close()


def responding_points(**timeouts: str) -> dict[str, Any]:
    return {"web": {"address": "127.0.0.1:0", **responding(**timeouts)}}


@QUIET
@pytest.mark.parametrize("place", ["router", "service"])
def test_wait_of_a_middleware(monkeypatch: pytest.MonkeyPatch, place: str, quiet_ms: int) -> None:
    steps = with_steps(monkeypatch)
    with held(answer) as server:
        dynamic = config(server.url)
        dynamic["http"]["middlewares"] = {"one": {"addPrefix": {"prefix": "/unused"}}}
        dynamic["http"][f"{place}s"]["a"]["middlewares"] = ["one"]
        with edge(dynamic) as lb:
            steps["one"].timeout_ms = 4000
            lb.drive(quiet_ms)
            client = lb.client()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Step: one=wait\r\n\r\n")
            eventually(lambda: len(steps["one"].held) == 1, "it waits")
            fires(lb, 4000, lambda: not is_silent(client))
            assert client.message()[0].startswith("HTTP/1.1 504")
            client.close()


@QUIET
def test_queue_timeout(quiet_ms: int) -> None:
    limits = {"maxConnections": 1, "queue": {"timeout": "5s"}}
    with held(lambda peer: peer.head()) as server, edge(config(server.url, **limits)) as lb:
        lb.drive(quiet_ms)
        first, client = lb.client(), lb.client()
        first.send(GET)
        eventually(lambda: server.peers, "the server is full")
        client.send(GET)
        fires(lb, 5000, lambda: not is_silent(client))
        assert client.message()[0].startswith("HTTP/1.1 503")
        first.close()
        client.close()


def test_a_connection_to_a_server_without_a_limit_for_being_idle_stays() -> None:
    """The time for the head of the last answer was another one."""
    timeouts = {"forwardingTimeouts": {"responseHeaderTimeout": "1s", "idleConnTimeout": "0s"}}
    with held(answer) as server, edge(config(server.url, timeouts)) as lb:
        lb.drive()
        client = lb.client()
        client.ask(GET)
        lb.drive(2000)
        settle(lb)
        client.ask(GET)
        assert server.connections == 1
        client.close()


def test_a_body_without_limits_takes_any_time() -> None:
    """The time for being idle, which began with the last answer, was another one."""
    with held(answer) as server:
        limits = responding(readTimeout="0s", idleTimeout="1s")
        with edge(config(server.url), **limits) as lb:
            lb.drive()
            client = lb.client()
            client.ask(GET)
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
            settle(lb)
            for _ in range(5):
                lb.drive(2000)
            assert is_silent(client)
            client.send(b"b")
            assert client.message()[0] == "HTTP/1.1 200 OK"
            client.close()


def test_a_client_that_has_ended_its_side_gets_a_long_answer_whole() -> None:
    """It has half a second until the answer begins, and any time while it comes."""

    def slow(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na")
        for byte in b"bcde":
            turn.acquire()
            peer.send(bytes([byte]))

    turn = threading.Semaphore(0)
    with held(slow) as server, edge(config(server.url)) as lb:
        lb.drive()
        client = lb.client()
        client.send(GET)
        client.sock.shutdown(socket.SHUT_WR)
        client.until(b"\r\n\r\na")
        for byte in b"bcde":
            lb.drive(20_000)
            settle(lb)
            turn.release()
            assert client.exactly(1) == bytes([byte])
        assert client.to_the_end() == b""


def test_a_client_that_has_ended_its_side_does_not_wait_for_ever() -> None:
    def stuck(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na")

    with held(stuck) as server, edge(config(server.url)) as lb:
        lb.drive()
        client = lb.client()
        client.send(GET)
        client.sock.shutdown(socket.SHUT_WR)
        client.until(b"\r\n\r\na")
        settle(lb)
        lb.drive(500 + TICKS_MS)
        fires(lb, 30_000, lambda: not is_silent(client))
        assert client.to_the_end() == b""
