"""Our own lack (descriptors): never a server's fault, and what is there already goes on. Real workers, real limits."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.instance import Instance, eventually, running
from tests.support.wire import Peer, Server, config_for, serving

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
STREAM_BYTES = 8 << 20


def lowest_free(pid: int) -> int:
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    return next(number for number in range(len(used) + 1) if number not in used)


@contextlib.contextmanager
def without_descriptors(pid: int, limit: int = 0) -> Iterator[None]:
    """A process that can open nothing more while the block lasts.

    limit  3, for one that opens and closes all the time: what it has open now may be free a moment later.
    """
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit or lowest_free(pid), before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def answer_and_close(peer: Peer) -> None:
    with contextlib.suppress(EOFError, ConnectionError):
        peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def client_of(lb: Instance) -> Peer:
    return Peer(socket.create_connection(("127.0.0.1", lb.port), timeout=30))


def test_without_descriptors_requests_get_503_and_no_server_is_ejected(tmp_path: Path) -> None:
    with serving(answer_and_close) as server:
        dynamic = config_for(server.url, passiveHealthCheck={"maxFailedAttempts": 2, "failureWindow": "1h"})
        with running(tmp_path, dynamic, workers=1) as lb:
            lb.runs(1)
            client = client_of(lb)
            assert client.ask(GET)[0] == "HTTP/1.1 200 OK"
            with without_descriptors(lb.workers[0]):
                for _ in range(7):
                    assert client.ask(GET)[0] == "HTTP/1.1 503 Service Unavailable"
            assert client.ask(GET)[0] == "HTTP/1.1 200 OK"
            lb.logged("no connection to a server can be opened: Too many open files")
            lines = re.findall("no connection to a server can be opened", lb.log)
            assert len(lines) <= 3  # at most one a second


def test_a_name_that_cannot_be_asked_for_without_descriptors_is_no_fault_of_the_server(tmp_path: Path) -> None:
    with serving(answer_and_close) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        dynamic = config_for(url, passiveHealthCheck={"maxFailedAttempts": 1, "failureWindow": "1h"})
        dynamic["http"]["routers"]["all"]["rule"] = "Host(`a`)"
        with running(tmp_path, dynamic, workers=1) as lb:
            lb.runs(1)
            client = client_of(lb)
            assert client.ask(GET.replace(b"Host: a", b"Host: nobody"))[0] == "HTTP/1.1 404 Not Found"
            with without_descriptors(lb.workers[0]):
                for _ in range(3):
                    assert client.ask(GET)[0] == "HTTP/1.1 503 Service Unavailable"
            assert client.ask(GET)[0] == "HTTP/1.1 200 OK"


def test_a_health_check_without_descriptors_says_nothing_of_the_server(tmp_path: Path) -> None:
    with serving() as server:
        dynamic = config_for(server.url, healthCheck={"path": "/", "interval": "50ms", "timeout": "5s"})
        with running(tmp_path, dynamic, workers=1) as lb:
            lb.runs(1)
            eventually(lambda: server.connections >= 2, "the server is probed")
            with without_descriptors(lb.process.pid, 3):
                lb.logged("Health check cannot be made", 3)
                assert client_of(lb).ask(GET)[0] == "HTTP/1.1 200 OK"
            assert "Health check failed" not in lb.log


def source(peer: Peer) -> None:
    """Sends much as soon as it is asked to, then echoes nothing."""
    with contextlib.suppress(OSError):
        while peer.sock.recv(65536):
            peer.send(bytes(STREAM_BYTES))


def stream(kind: str, server: Server) -> dict[str, Any]:
    if kind == "http":
        return config_for(server.url)
    address = server.url.removeprefix("http://")
    router = {"rule": "HostSNI(`*`)", "service": "all"}
    service = {"loadBalancer": {"servers": [{"address": address}]}}
    return {"tcp": {"routers": {"all": router}, "services": {"all": service}}}


def take_stream(tmp_path: Path, kind: str, script: Any, greeting: bytes) -> None:
    """Open a tunnel, take all descriptors away, and have 8 MB go through it, to a client that is slow at first."""
    with serving(script) as server, running(tmp_path, stream(kind, server), workers=1) as lb:
        lb.runs(1)
        client = client_of(lb)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(greeting)
        client.until(b"ready\n")
        with without_descriptors(lb.workers[0]):
            client.send(b"go")
            for _ in range(2):
                assert client.exactly(STREAM_BYTES) == bytes(STREAM_BYTES)
                client.send(b"again")
        assert client.exactly(STREAM_BYTES) == bytes(STREAM_BYTES)
        client.close()
        eventually(lambda: "Traceback" not in lb.log, "no traceback", 5)


def test_a_stream_of_layer_4_goes_on_without_pipes(tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.until(b"hello\n")
        peer.send(b"ready\n")
        source(peer)

    take_stream(tmp_path, "tcp", script, b"hello\n")


def test_a_websocket_goes_on_without_pipes(tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nready\n")
        source(peer)

    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    take_stream(tmp_path, "http", script, head)


def test_layer_4_without_descriptors_for_the_server_closes_and_goes_on_later(tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.send(b"ready\n")
        with contextlib.suppress(OSError):
            peer.sock.recv(65536)

    with serving(script) as server, running(tmp_path, stream("tcp", server), workers=1) as lb:
        lb.runs(1)
        first = client_of(lb)
        first.until(b"ready\n")
        worker = lb.workers[0]
        before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        # Room for the client's connection, and for none to the server.
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (lowest_free(worker) + 1, before[1]))
        client = client_of(lb)
        assert client.to_the_end() == b""
        client.close()
        lb.logged("no connection to a server can be opened: Too many open files")
        resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
        last = client_of(lb)
        last.until(b"ready\n")
        first.close()
        last.close()


HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"


def test_clients_leave_descriptors_for_servers_and_all_are_served_in_the_end(tmp_path: Path) -> None:
    """600 clients with half a head, 256 descriptors for each of two workers: each is answered with 200."""

    def script(peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                peer.message()
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    limits = ("prlimit", "--nofile=256:256")
    with serving(script) as server, running(tmp_path, config_for(server.url), prefix=limits) as lb:
        lb.runs(1)
        clients = []
        for _ in range(600):
            clients.append(client_of(lb))
            clients[-1].send(HEAD)
        for client in clients:
            client.send(b"Connection: close\r\n\r\n")
        statuses = Counter(client.message()[0] for client in clients)
        assert statuses == {"HTTP/1.1 200 OK": 600}
        for client in clients:
            client.close()
        assert len(re.findall("does not accept|cannot accept", lb.log)) <= 60


def test_the_client_that_is_idle_longest_makes_room_for_a_new_one(tmp_path: Path) -> None:
    limits = ("prlimit", "--nofile=128:128")
    with serving() as server, running(tmp_path, config_for(server.url), workers=1, prefix=limits) as lb:
        lb.runs(1)
        idle = []
        for _ in range(80):
            idle.append(client_of(lb))
            assert idle[-1].ask(GET)[0] == "HTTP/1.1 200 OK"
        assert idle[0].to_the_end() == b""
        for client in idle[-10:]:
            assert client.ask(GET)[0] == "HTTP/1.1 200 OK"
        for client in idle:
            client.close()


def is_open(client: Peer) -> bool:
    client.sock.settimeout(0)
    try:
        return client.sock.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    finally:
        client.sock.settimeout(30)


def wait_for_the_next_millisecond() -> None:
    """Of the monotonic clock, which is that of the reactor, too."""
    now = time.monotonic_ns() // 1_000_000
    eventually(lambda: time.monotonic_ns() // 1_000_000 > now, "the clock runs")


def test_the_clients_that_have_been_idle_for_longest_make_room_and_are_counted(tmp_path: Path) -> None:
    static = {"api": {"insecure": True}, "metrics": {"prometheus": {"entryPoint": "web"}}}
    static["entryPoints"] = {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": "127.0.0.1:0"}}
    with serving() as server, running(tmp_path, config_for(server.url), workers=1, static=static) as lb:
        lb.runs(1)
        clients = [client_of(lb) for _ in range(40)]
        for client in clients:
            assert client.ask(GET)[0] == "HTTP/1.1 200 OK"
            wait_for_the_next_millisecond()  # by which idle times are told apart
        assert clients[1].ask(GET)[0] == "HTTP/1.1 200 OK"  # now the last one
        order = [clients[0], *clients[2:], clients[1]]
        closed = 0
        with without_descriptors(lb.workers[0]):
            for _ in range(3):
                newcomers = [client_of(lb) for _ in range(4)]
                for newcomer in newcomers:
                    assert newcomer.ask(GET)[0] == "HTTP/1.1 200 OK"
                still = [is_open(client) for client in order]
                before, closed = closed, still.count(False)
                assert closed >= max(before, 1)
                assert still == [False] * closed + [True] * (len(order) - closed)
                for newcomer in newcomers:
                    newcomer.close()
        assert closed < len(order)
        metrics = client_of(lb).ask(GET.replace(b"/ ", b"/metrics ", 1))[2].decode()
        assert float(re.findall(r"^lbcore_connections_shed_total (\S+)", metrics, re.M)[0]) >= closed
