"""Layer 4: bytes between clients and servers, whatever they say. Real sockets, a real PostgreSQL and a real Redis."""

from __future__ import annotations

import contextlib
import glob
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.wire import FULL_S, TIMEOUT_S, Edge, Peer, Script, Server, config_for, deaf, edge, serving


def greet(name: bytes) -> Script:
    """A server that speaks first, then echoes until its client has ended."""

    def script(peer: Peer) -> None:
        with contextlib.suppress(OSError):
            peer.send(name + b"\n")
            while data := peer.sock.recv(65536):
                peer.send(data)

    return script


@contextlib.contextmanager
def echoes(*names: str) -> Iterator[list[Server]]:
    servers = [Server(greet(name.encode())) for name in names]
    try:
        yield servers
    finally:
        for server in servers:
            server.close()


def address(server: Server) -> str:
    return server.url.removeprefix("http://")


def tcp(servers: Mapping[str, int] | list[str], rule: str = "HostSNI(`*`)", **more: Any) -> dict[str, Any]:
    if not isinstance(servers, Mapping):
        servers = dict.fromkeys(servers, 1)
    listed = [{"address": name, "weight": weight} for name, weight in servers.items()]
    return {
        "tcp": {
            "routers": {"all": {"rule": rule, "service": "all"}},
            "services": {"all": {"loadBalancer": {"servers": listed, **more}}},
        }
    }


def first_line(lb: Edge) -> str:
    """What the server says to a new client; empty when the connection is closed without a word."""
    client = lb.client()
    try:
        return client.until(b"\n").decode().strip()
    except (EOFError, ConnectionError):
        return ""
    finally:
        client.close()


def test_connections_are_spread_by_weight_and_servers_may_speak_first() -> None:
    with echoes("a", "b") as (a, b), edge(tcp({address(a): 3, address(b): 1})) as lb:
        assert Counter(first_line(lb) for _ in range(16)) == {"a": 12, "b": 4}


@pytest.mark.parametrize("size", [1, 1000, 5_000_000])
def test_bytes_come_back_as_they_went_and_half_closing_is_passed_on(size: int) -> None:
    data = os.urandom(size)
    with echoes("a") as (a,), edge(tcp([address(a)])) as lb:
        client = lb.client()
        assert client.until(b"\n") == b"a\n"
        sender = threading.Thread(target=lambda: (client.send(data), client.sock.shutdown(socket.SHUT_WR)))
        sender.start()
        assert client.to_the_end() == data
        sender.join()
        eventually(lambda: lb.open_connections == 0, "the connection is gone")


def test_last_bytes_and_the_end_that_come_together_go_on_in_one_packet() -> None:
    def script(peer: Peer) -> None:
        peer.exactly(1)
        peer.sock.send(b"all", socket.MSG_MORE)  # with the end, which follows

    with serving(script) as server, edge(tcp([address(server)])) as lb:
        client = lb.client()
        client.send(b"x")
        assert client.to_the_end() == b"all"
        packets: int = struct.unpack_from("I", client.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 140)[0]
        assert packets <= 3  # tcpi_segs_in: of the handshake, for the byte, and this


def test_a_tunnel_that_has_found_no_pipe_goes_on_when_its_server_reads_again() -> None:
    """In a process of its own: others keep pipes."""
    command = [sys.executable, "-m", "tests.support.without_pipes"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=200, check=True)
    assert done.stdout == "and the rest\n"


def test_an_unreachable_server_is_skipped_and_without_any_the_connection_is_closed() -> None:
    dead = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    with echoes("a") as (a,), edge(tcp([dead[0], address(a)])) as lb:
        assert [first_line(lb) for _ in range(6)] == ["a"] * 6
        lb.apply(tcp(dead))
        assert first_line(lb) == ""
        lb.apply(tcp([]))
        assert first_line(lb) == ""
        assert lb.open_connections == 0


def test_a_server_that_is_passed_over_leaves_the_order_of_connections() -> None:
    """Else all of them begin at it, if there is one more."""
    dead = f"127.0.0.1:{free_port()}"
    with echoes("a") as (a,), edge(tcp([dead, address(a)])) as lb:
        assert [first_line(lb) for _ in range(10)] == ["a"] * 10
        slots = lb.proxy._publication.current.snapshot.slots.servers  # type: ignore[union-attr]
        found = [lb.proxy._region.server_counters(slots[f"tcp:all@file|{each}"]) for each in (dead, address(a))]  # type: ignore[union-attr]
        assert [each.requests for each in found] == [5, 10]


def test_routers_by_client_address_and_the_rest_is_http() -> None:
    get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with echoes("a") as (a,), serving() as web:
        config = {**config_for(web.url), **tcp([address(a)], "ClientIP(`10.0.0.0/8`)")}
        with edge(config) as lb:
            assert lb.ask(get)[0] == "HTTP/1.1 200 OK"
            config |= tcp([address(a)], "ClientIP(`127.0.0.0/8`) && HostSNI(`*`)")
            lb.apply(config)
            assert first_line(lb) == "a"
            config |= tcp([address(a)], "!ClientIP(`127.0.0.0/8`)")
            lb.apply(config)
            assert lb.ask(get)[0] == "HTTP/1.1 200 OK"


@pytest.mark.parametrize("default", ["", "v3", "v2"])
@pytest.mark.parametrize("own", ["", "v3", "v2"])
def test_rules_of_version_2(default: str, own: str) -> None:
    """A matcher with several values, which only that version has; otherwise the router is disabled, and all is HTTP."""
    with echoes("a") as (a,):
        config = tcp([address(a)], "ClientIP(`10.0.0.1`, `127.0.0.0/8`) && HostSNI(`*`)")
        if own:
            config["tcp"]["routers"]["all"]["ruleSyntax"] = own
        with edge(config, static={"core": {"defaultRuleSyntax": default}} if default else None) as lb:
            client = lb.client()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.until(b"\n") == (b"a\n" if (own or default) == "v2" else b"HTTP/1.1 404 Not Found\r\n")


def test_who_is_not_on_the_list_is_turned_away() -> None:
    with echoes("a") as (a,):
        config = tcp([address(a)])
        config["tcp"]["routers"]["all"]["middlewares"] = ["list"]
        config["tcp"]["middlewares"] = {"list": {"ipAllowList": {"sourceRange": ["10.0.0.0/8", "127.0.0.1"]}}}
        with edge(config) as lb:
            assert first_line(lb) == "a"
            config["tcp"]["middlewares"]["list"]["ipAllowList"]["sourceRange"] = ["10.0.0.0/8"]
            lb.apply(config)
            assert first_line(lb) == ""


def test_weighted_services_and_parents_that_watch() -> None:
    with echoes("a", "b") as (a, b):
        check = {"healthCheck": {"send": "ping\n", "expect": "a\nping\n", "interval": "50ms", "timeout": "300ms"}}
        config = tcp([])
        services = config["tcp"]["services"]
        services["one"] = {"loadBalancer": {"servers": [{"address": address(a)}], **check}}
        services["two"] = {"loadBalancer": {"servers": [{"address": address(b)}], "healthCheck": {"interval": "1h"}}}
        children = [{"name": "one", "weight": 2}, {"name": "two"}]
        services["all"] = {"weighted": {"services": children, "healthCheck": {}}}
        with edge(config) as lb:
            eventually(lambda: {first_line(lb) for _ in range(3)} == {"a", "b"}, "both were checked")
            assert Counter(first_line(lb) for _ in range(6)) == {"a": 4, "b": 2}
            a.script = greet(b"x")
            eventually(lambda: {first_line(lb) for _ in range(3)} == {"b"}, "the check finds it changed")
            a.script = greet(b"a")
            eventually(lambda: {first_line(lb) for _ in range(3)} == {"a", "b"}, "it is back")


def test_a_clients_connections_stay_with_one_server() -> None:
    with echoes("a", "b", "c") as servers:
        with edge(tcp([address(server) for server in servers], sticky={"sourceIP": {}})) as lb:
            (name,) = {first_line(lb) for _ in range(9)}
            gone = servers["abc".index(name)]
            gone.close()
            (other,) = {first_line(lb) for _ in range(6)}
            assert other not in ("", name)


def test_the_other_side_is_cut_when_the_termination_delay_is_over() -> None:
    over = threading.Event()

    def deaf(peer: Peer) -> None:
        peer.send(b"deaf\n")
        over.wait(TIMEOUT_S)

    server = Server(deaf)
    with edge(tcp([address(server)], terminationDelay=200)) as lb:
        client = lb.client()
        client.until(b"\n")
        client.sock.shutdown(socket.SHUT_WR)
        started = time.monotonic()
        assert client.to_the_end() == b""
        assert 0.1 < time.monotonic() - started < TIMEOUT_S / 2, "cut while the server goes on"
        over.set()
    server.close()


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_proxy_protocol_tells_a_server_its_client(version: str) -> None:
    seen: list[bytes] = []

    def read(peer: Peer) -> None:
        if version == "1":
            seen.append(peer.until(b"\r\n"))
        else:
            head = peer.exactly(16)
            seen.append(head + peer.exactly(struct.unpack("!H", head[14:])[0]))
        seen.append(peer.exactly(5))
        peer.send(b"bye\n")

    server = Server(read)
    with edge(tcp([address(server)], proxyProtocol={"version": version})) as lb:
        client = lb.client()
        port, (_, listening) = client.sock.getsockname()[1], client.sock.getpeername()
        client.send(b"hello")
        assert client.until(b"\n") == b"bye\n"
        if version == "1":
            assert seen == [f"PROXY TCP4 127.0.0.1 127.0.0.1 {port} {listening}\r\n".encode(), b"hello"]
        else:
            addresses = socket.inet_aton("127.0.0.1") * 2 + struct.pack("!HH", port, listening)
            assert seen == [b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + addresses, b"hello"]
        client.close()
    server.close()


def test_what_is_wrong_is_told_and_disabled_alone() -> None:
    config = tcp(["nohost"])
    config["tcp"]["routers"]["sni"] = {"rule": "HostSNI(`db.test`)", "service": "loop"}
    config["tcp"]["services"]["loop"] = {"weighted": {"services": [{"name": "loop"}]}}
    with edge(config) as lb:
        found = {entry.name: entry.errors for entry in lb.proxy.disabled}
        assert found["all@file"][0] == "error parsing server address nohost: write host:port or unix:/path"
        assert "has HostSNI matcher, but no TLS on router" in found["sni@file"][0]
        assert "recursion detected" in found["loop@file"][0]


def test_a_reload_cuts_no_connection() -> None:
    with echoes("a", "b") as (a, b), edge(tcp([address(a)])) as lb:
        client = lb.client()
        client.until(b"\n")
        lb.apply(tcp([address(b)]))
        client.send(b"still here\n")
        assert client.until(b"\n") == b"still here\n"
        assert first_line(lb) == "b"
        client.close()


@contextlib.contextmanager
def postgres_server() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A PostgreSQL server of the test's own: its port and process."""
    # Not below pytest's own folder: another run of pytest closes that to other users while this one is under way.
    with tempfile.TemporaryDirectory(prefix="lbcore-postgres-") as folder, postgres_in(Path(folder)) as found:
        yield found


@contextlib.contextmanager
def postgres_in(folder: Path, *more: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The same in a folder, of which all files are made its user's. `more`: of its options."""
    binaries = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    assert binaries, "PostgreSQL is not installed: make system"
    port = free_port()
    as_user: tuple[str, ...] = ()
    if os.geteuid() == 0:
        for place in (folder, *folder.iterdir()):
            shutil.chown(place, "postgres", "postgres")
        as_user = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
    data = folder / "data"
    initdb = (*as_user, f"{binaries[-1]}/initdb", "-D", str(data), "-A", "trust", "-U", "postgres")
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd="/")
    options = ("-D", str(data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1", *more)
    command = (*as_user, f"{binaries[-1]}/postgres", *options)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd="/")
    try:
        eventually(lambda: ask_postgres(port, "select 1") == "1", "PostgreSQL answers", 30)
        yield port, process
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def postgres() -> Iterator[int]:
    with postgres_server() as (port, _):
        yield port


def ask_postgres(port: int, query: str) -> str:
    command = ["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-Atc", query]
    return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()


def test_postgresql_behind_it(postgres: int) -> None:
    check = {"healthCheck": {"interval": "200ms"}}
    with edge(tcp([f"127.0.0.1:{free_port()}", f"127.0.0.1:{postgres}"], **check)) as lb:
        _, port = lb.address
        assert isinstance(port, int)
        for number in range(4):
            assert ask_postgres(port, f"select {number} + 1") == str(number + 1)
        rows = ask_postgres(port, "select repeat('x', 100) from generate_series(1, 20000)")
        assert len(rows.splitlines()) == 20000


def test_redis_behind_it(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path)],
                               stdout=subprocess.DEVNULL)  # fmt: skip
    try:
        check = {"send": "PING\r\n", "expect": "+PONG", "interval": "100ms"}
        with edge(tcp([f"127.0.0.1:{port}"], healthCheck=check)) as lb:

            def ping() -> bool:
                client = lb.client()
                with contextlib.closing(client.sock), contextlib.suppress(EOFError, ConnectionError):
                    client.send(b"PING\r\n")
                    return client.until(b"\r\n") == b"+PONG\r\n"
                return False

            eventually(ping, "the check finds Redis up")
            client = lb.client()
            client.send(b"SET a 1\r\nINCR a\r\nGET a\r\n")
            assert client.exactly(16) == b"+OK\r\n:2\r\n$1\r\n2\r\n"
            client.close()
    finally:
        process.terminate()
        process.wait(10)


def limited(amount: int, *servers: Server) -> dict[str, Any]:
    config = tcp([address(server) for server in servers])
    config["tcp"]["routers"]["all"]["middlewares"] = ["few"]
    config["tcp"]["middlewares"] = {"few": {"inFlightConn": {"amount": amount}}}
    return config


def test_a_client_has_only_so_many_connections_at_once() -> None:
    with echoes("a") as (a,), edge(limited(3, a)) as lb:
        clients = [lb.client() for _ in range(3)]
        assert [client.until(b"\n") for client in clients] == [b"a\n"] * 3
        assert [first_line(lb) for _ in range(5)] == [""] * 5, "what is beyond is closed"
        host, port = lb.address
        other = Peer(socket.create_connection((host, int(port)), timeout=5, source_address=("127.0.0.2", 0)))
        assert other.until(b"\n") == b"a\n", "others are not affected"
        clients[0].close()
        eventually(lambda: first_line(lb) == "a", "one that closes makes room")
        lb.apply(limited(2, a))
        assert first_line(lb) == "", "a reload does not forget the two that are open"
        lb.apply(limited(3, a))
        eventually(lambda: first_line(lb) == "a", "the third one")
        for client in (*clients[1:], other):
            client.close()
        lb.apply(limited(0, a))
        assert first_line(lb) == ""


def test_who_cannot_be_served_is_not_counted() -> None:
    config = limited(1)
    with edge(config) as lb:
        assert [first_line(lb) for _ in range(3)] == [""] * 3
        with echoes("a") as (a,):
            lb.apply(limited(1, a))
            assert [eventually(lambda: first_line(lb), "there is room") for _ in range(5)] == ["a"] * 5
    config = limited(1, a)
    config["tcp"]["middlewares"]["few"]["ipAllowList"] = {"sourceRange": ["127.0.0.1"]}
    with edge(config) as lb:  # from the start: a reload would keep the middleware that runs
        assert "multi-types middleware" in lb.proxy.disabled[0].errors[0]


def test_a_stream_at_full_speed_does_not_delay_other_connections() -> None:
    """One worker carries a stream that never pauses; another connection is answered between its turns."""
    stop = threading.Event()

    def flood(peer: Peer) -> None:
        block = bytes(1 << 20)
        with contextlib.suppress(OSError):
            while not stop.is_set():
                peer.send(block)

    source = Server(flood)
    with echoes("a") as (a,):
        config = tcp([address(a)], "ClientIP(`127.0.0.1`)")
        config["tcp"]["routers"]["stream"] = {"rule": "ClientIP(`127.0.0.2`)", "service": "stream"}
        config["tcp"]["services"]["stream"] = {"loadBalancer": {"servers": [{"address": address(source)}]}}
        with edge(config) as lb:
            host, port = lb.address
            sock = socket.create_connection((host, int(port)), timeout=10, source_address=("127.0.0.2", 0))
            taken = 0

            def drain() -> None:
                nonlocal taken
                with contextlib.suppress(OSError):
                    while piece := sock.recv(1 << 20):
                        taken += len(piece)

            drainer = threading.Thread(target=drain)
            drainer.start()
            client = lb.client()
            client.until(b"\n")
            slowest_s = 0.0
            for _ in range(50):
                before, started = taken, time.monotonic()
                client.send(b"ping\n")
                assert client.until(b"\n") == b"ping\n"
                slowest_s = max(slowest_s, time.monotonic() - started)
                eventually(lambda before=before: taken > before, "the stream goes on")
            stop.set()
            client.close()
            sock.shutdown(socket.SHUT_RDWR)
            drainer.join()
            sock.close()
            assert slowest_s < 1
    source.close()


def cpu_share(during_s: float = 0.5) -> float:
    """Of one core, while this thread sleeps."""
    before = time.process_time()
    time.sleep(during_s)
    return (time.process_time() - before) / during_s


@pytest.mark.parametrize(("up_bytes", "down_bytes"), [(0, 20_000_000), (20_000_000, 0), (20_000_000, 20_000_000)])
def test_streams_without_a_reader_wait_without_work_and_continue(up_bytes: int, down_bytes: int) -> None:
    """Both sides send more than all buffers hold before they receive."""
    up, down = os.urandom(up_bytes), os.urandom(down_bytes)
    go_on = threading.Event()
    got: list[bytes] = []

    def both(sock: socket.socket, data: bytes, take: Callable[[], bytes]) -> None:
        def send() -> None:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        go_on.wait()
        got.append(take())
        sender.join()

    server = Server(lambda peer: both(peer.sock, down, peer.to_the_end))
    with edge(tcp([address(server)])) as lb:
        client = lb.client()
        asking = threading.Thread(target=both, args=(client.sock, up, client.to_the_end))
        asking.start()
        try:
            eventually(lambda: cpu_share() < 0.3, "nothing is carried, and nothing done")
        finally:
            go_on.set()
        asking.join()
        eventually(lambda: len(got) == 2, "all of it has come")
        assert sorted(got) == sorted([up, down])
        client.close()
        eventually(lambda: lb.open_connections == 0, "it is gone")
    server.close()


def test_what_waits_for_a_server_goes_out_though_it_streams_all_the_while() -> None:
    """A client sends until all buffers are full while the server streams; then it only receives."""
    taking = threading.Event()
    got = 0

    def script(peer: Peer) -> None:
        nonlocal got
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
        while not taking.is_set():
            peer.send(bytes(1 << 16))
        lb.settle()  # its last bytes are on their way
        while data := peer.sock.recv(1 << 20):
            got += len(data)

    def fill(sock: socket.socket) -> int:
        """Bytes sent until all buffers are full."""
        sent = 0
        while select.select([], [sock], [], FULL_S)[1]:
            with contextlib.suppress(BlockingIOError):
                sent += os.write(sock.fileno(), bytes(4000))  # a method of the socket would wait
            time.sleep(0.0003)  # so little at once is not spliced
        return sent

    server = Server(script)
    with edge(tcp([address(server)])) as lb:
        client = lb.client()

        def receive() -> None:
            with contextlib.suppress(OSError):
                while client.sock.recv(1 << 20):
                    pass

        receiver = threading.Thread(target=receive)
        receiver.start()
        sent = fill(client.sock)
        taking.set()
        eventually(lambda: got == sent, "all of it has come", 20)
        client.sock.shutdown(socket.SHUT_RDWR)
        receiver.join()
        client.close()
    server.close()


def test_a_client_that_aborts_while_its_stream_has_no_reader_is_closed() -> None:
    forever = threading.Event()
    server = Server(lambda peer: forever.wait())
    with edge(tcp([address(server)])) as lb:
        client = lb.client()
        client.fill(bytes(40_000_000))
        assert lb.open_connections == 1
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        eventually(lambda: lb.open_connections == 0, "it is gone")
        forever.set()
    server.close()


def test_a_stream_that_ended_one_way_costs_nothing_while_the_other_is_open() -> None:
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(bytes(3_000_000))
        peer.sock.shutdown(socket.SHUT_WR)
        ended.wait()

    server = Server(script)
    with edge(tcp([address(server)])) as lb:
        client = lb.client()
        assert client.to_the_end() == bytes(3_000_000)
        assert lb.open_connections == 1
        assert cpu_share() < 0.3
        ended.set()
        client.close()
        eventually(lambda: lb.open_connections == 0, "it is gone")
    server.close()


def test_data_in_flight_arrives_completely_whichever_side_ends_first() -> None:
    """The server sends and ends while the client still sends; then the client ends."""
    got: list[bytes] = []
    data = os.urandom(3_000_000)

    def script(peer: Peer) -> None:
        peer.send(data)
        peer.sock.shutdown(socket.SHUT_WR)
        got.append(peer.to_the_end())

    server = Server(script)
    with edge(tcp([address(server)])) as lb:
        client = lb.client()
        assert client.to_the_end() == data
        assert lb.open_connections == 1, "half of it is open"
        client.send(data[::-1])
        client.sock.shutdown(socket.SHUT_WR)
        eventually(lambda: lb.open_connections == 0, "it is gone")
        client.close()
        eventually(lambda: got == [data[::-1]], "all of it has come")
    server.close()


@pytest.mark.parametrize("transport", [False, True])
def test_the_termination_delay_of_a_transport_cuts_a_client_that_goes_on(transport: bool) -> None:
    server = Server(lambda peer: peer.send(b"bye\n"))
    config = tcp([address(server)], **({"serversTransport": "quick"} if transport else {}))
    config["tcp"]["serversTransports"] = {"quick": {"terminationDelay": "200ms"}}
    config["tcp"]["services"]["cut"] = {"loadBalancer": {"servers": [{"address": address(server)}],
                                                         "serversTransport": "quick"}}  # fmt: skip
    config["tcp"]["routers"]["all"]["entryPoints"] = ["web"]
    config["tcp"]["routers"]["cut"] = {"rule": "HostSNI(`*`)", "service": "cut", "entryPoints": ["cut"]}
    with edge(config, {name: {"address": "127.0.0.1:0"} for name in ("web", "cut")}) as lb:
        client = lb.client()
        assert client.until(b"\n") == b"bye\n"
        if transport:
            eventually(lambda: lb.open_connections == 0, "it is cut")
        else:
            assert not client.sock.recv(1)
            second = lb.client("cut")
            assert second.until(b"\n") == b"bye\n"
            eventually(lambda: lb.open_connections == 1, "one that came later and has a delay is cut")
            second.close()
            client.send(b"more")  # the first one is open: without a delay the client may go on
        client.close()
        eventually(lambda: lb.open_connections == 0, "it is gone")
    server.close()


def test_a_server_that_does_not_take_the_connection_in_time_is_passed_over() -> None:
    with echoes("a") as (a,), deaf() as port:
        config = tcp([f"127.0.0.1:{port}", address(a)], serversTransport="quick")
        config["tcp"]["serversTransports"] = {"quick": {"dialTimeout": "200ms"}}
        with edge(config) as lb:
            assert [first_line(lb) for _ in range(4)] == ["a"] * 4
            leaving = lb.client()
            leaving.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            leaving.close()
            eventually(lambda: lb.open_connections == 0, "a client that leaves meanwhile is let go")


def test_the_static_transport_is_that_of_services_that_name_none() -> None:
    with echoes("a") as (a,), deaf() as port:
        static = {"tcpServersTransport": {"dialTimeout": "200ms"}}
        with edge(tcp([f"127.0.0.1:{port}", address(a)]), static=static) as lb:
            assert [first_line(lb) for _ in range(4)] == ["a"] * 4


def test_the_termination_delay_of_the_static_transport_is_for_services_that_name_it() -> None:
    # Without a transport by name there is no limit.
    server = Server(lambda peer: peer.send(b"bye\n"))
    static = {"tcpServersTransport": {"terminationDelay": "200ms"}}
    with edge(tcp([address(server)], serversTransport="default@internal"), static=static) as lb:
        client = lb.client()
        assert client.until(b"\n") == b"bye\n"
        eventually(lambda: lb.open_connections == 0, "it is cut")
        lb.apply(tcp([address(server)]))
        first, second = lb.client(), lb.client()
        assert first.until(b"\n") == b"bye\n"
        lb.apply(tcp([address(server)], serversTransport="default@internal"))
        assert second.until(b"\n") == b"bye\n"
        later = lb.client()
        assert later.until(b"\n") == b"bye\n"
        eventually(lambda: lb.open_connections == 2, "one that came later is cut, those without a delay are not")
        first.close()
        second.close()
    server.close()


@pytest.mark.parametrize(("delay", "waits"), [("-1s", True), ("0s", False)])
def test_a_transport_without_a_limit_for_the_other_side(delay: str, waits: bool) -> None:
    """As in Traefik, a negative delay is none; and beside a transport, the service's own settings do not count."""
    goes_on = threading.Event()

    def late(peer: Peer) -> None:
        assert peer.to_the_end() == b"hello", "no header of the PROXY protocol"
        goes_on.wait(TIMEOUT_S)
        with contextlib.suppress(OSError):
            peer.send(b"late")

    with serving(late) as server:
        more = {"serversTransport": "named", "terminationDelay": 0 if waits else -1, "proxyProtocol": {"version": "1"}}
        config = tcp([address(server)], **more)
        config["tcp"]["serversTransports"] = {"named": {"terminationDelay": delay}}
        with edge(config) as lb:
            client = lb.client()
            client.send(b"hello")
            client.sock.shutdown(socket.SHUT_WR)
            if waits:
                lb.settle()
                goes_on.set()
            assert client.to_the_end() == (b"late" if waits else b"")
            goes_on.set()


def test_idle_connections_to_servers_are_probed_as_the_transport_says() -> None:
    def timer_s(port: int) -> float:
        """Until the kernel's next probe of the connection to a local port (proc_net_tcp)."""
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[2].endswith(f":{port:04X}") and fields[3] == "01":
                kind, _, ticks = fields[5].partition(":")
                return int(ticks, 16) / os.sysconf("SC_CLK_TCK") if kind == "02" else 0
        return 0

    slow = {"dialKeepAlive": "100s"}
    for transport, static, low, high in (({}, {}, 10, 15.5), (slow, {}, 90, 100.5), (None, slow, 90, 100.5)):
        with echoes("a") as (a,):
            config = tcp([address(a)], **({} if transport is None else {"serversTransport": "probing"}))
            config["tcp"]["serversTransports"] = {"probing": transport or {"dialTimeout": "5s"}}
            with edge(config, static={"tcpServersTransport": static} if static else None) as lb:
                client = lb.client()
                client.until(b"\n")
                found = eventually(lambda port=a.port: timer_s(port), "the kernel's timer runs")
                assert low < found < high
                client.close()


@pytest.mark.parametrize("switched", [False, True])
def test_the_last_words_of_a_server_that_takes_no_more_arrive(switched: bool) -> None:
    """It closes with bytes unread, which resets its connection, while more are on their way; also behind an upgrade."""
    full, closed = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        if switched:
            peer.head()
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert full.wait(TIMEOUT_S)
        peer.send(b"too much\n")
        peer.close()
        closed.set()

    with serving(script) as server, edge(config_for(server.url) if switched else tcp([address(server)])) as lb:
        client = lb.client()
        if switched:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            assert client.head()[0].split()[1] == "101"
        client.fill(bytes(40_000_000))

        def both_at_once() -> None:  # before the proxy looks again
            full.set()
            assert closed.wait(TIMEOUT_S)

        lb._loop.call_soon_threadsafe(both_at_once)
        assert client.until(b"\n") == b"too much\n"
        eventually(lambda: lb.open_connections == 0, "the connection is gone")


def test_the_last_bytes_of_a_client_that_does_not_read_arrive() -> None:
    """It closes with bytes unread, which resets its connection. Without lbcore the server would get them."""
    got: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.send(b"hello\n")
        got.append(peer.to_the_end())

    with serving(script) as server, edge(tcp([address(server)])) as lb:
        client = lb.client()
        assert select.select([client.sock], [], [], TIMEOUT_S)[0]

        def both_at_once() -> None:  # before the proxy looks again
            client.send(b"last words")
            client.close()

        lb._loop.call_soon_threadsafe(both_at_once)
        eventually(lambda: got == [b"last words"], "all of it has come")
