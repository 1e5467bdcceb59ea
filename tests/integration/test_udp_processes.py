"""UDP with several workers as processes: sessions stay with their worker over reloads; drains; passed sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import run_command
from tests.support.instance import Instance, eventually, running
from tests.support.ports import free_port
from tests.support.udp import UdpClient, UdpServer, clients, echo, servers, udp

TIMEOUT = "1h"


def points(port: int, **more: Any) -> dict[str, Any]:
    return {
        "entryPoints": {
            "web": {"address": "127.0.0.1:0"},
            "udp": {"address": f"127.0.0.1:{port}/udp", "udp": {"timeout": TIMEOUT}, **more},
        }
    }


def receives(instance: Instance) -> int:
    """The port of the entry point `udp`."""
    return int(instance.logged(r"entry point udp listens on \S+:(\d+)/udp")[1])


def test_a_client_stays_with_its_worker_and_its_server_over_reloads(tmp_path: Path) -> None:
    with (
        servers("a", "b", answer=echo) as (a, b),
        running(tmp_path, udp([a.address, b.address]), workers=3, static=points(0)) as lb,
    ):
        lb.runs(1)
        with clients(receives(lb), 30) as all:

            def ask(text: bytes) -> set[Any]:
                """Each client asks once. Gives the sources of this text: others may send here, too."""
                assert [client.ask(text) for client in all] == [text] * 30
                return {source for seen, source in a.seen + b.seen if seen == text}

            sources = ask(b"session 0")
            assert len(sources) == 30
            for number in range(1, 3):
                assert ask(b"session %d" % number) == sources
            lb.write(udp({a.address: 1, b.address: 9}))
            lb.runs(2)
            assert ask(b"more of it") == sources
            # All three workers have some: the kernel distributes clients.
            sockets = [len(udp_sockets(pid)) for pid in lb.workers]
            assert sum(sockets) >= 33 and min(sockets) > 1


def udp_sockets(pid: int) -> set[str]:
    """The inodes of the UDP sockets that a process has."""
    listed = {line.split()[9] for line in Path("/proc/net/udp").read_text().splitlines()[1:]}
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(link)
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found & listed


def test_a_worker_that_dies_loses_its_sessions_alone_and_clients_go_on(tmp_path: Path) -> None:
    with servers("a", answer=echo) as (a,), running(tmp_path, udp([a.address]), workers=2, static=points(0)) as lb:
        lb.runs(1)
        with clients(receives(lb), 20) as all:
            assert [client.ask(b"1") for client in all] == [b"1"] * 20
            before = set(a.sources)
            os.kill(lb.workers[0], signal.SIGKILL)
            # Until its successor runs, a datagram may wait in the socket; none is refused.
            assert [client.ask(b"2") for client in all] == [b"2"] * 20
            kept = {source for data, source in a.seen if data == b"2"} & before
            assert 0 < len(kept) < 20


def test_a_stop_lets_sessions_go_on_for_the_grace_time(tmp_path: Path) -> None:
    grace = {"transport": {"lifeCycle": {"graceTimeOut": "30s"}}}
    with servers("a", answer=echo) as (a,), running(tmp_path, udp([a.address]), static=points(0, **grace)) as lb:
        lb.runs(1)
        port = receives(lb)
        with clients(port, 1) as (client,):
            assert client.ask(b"1") == b"1"
            lb.signal(signal.SIGTERM)
            assert client.ask(b"2") == b"2"

            def none_begins() -> bool:
                with clients(port, 1) as (new,):
                    new.sock.settimeout(0.5)
                    with contextlib.suppress(TimeoutError):
                        new.ask(b"too late")
                        return False
                return True

            eventually(none_begins, "no session begins")
            assert client.ask(b"3") == b"3"
            lb.signal(signal.SIGTERM)  # now
            assert lb.process.wait(30) is not None


def test_a_socket_of_the_service_manager_is_received_from(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as passed, servers("a", answer=echo) as (a,):
        passed.bind(("127.0.0.1", 0))
        port = passed.getsockname()[1]
        code = (
            f"import os, sys; os.dup2({passed.fileno()}, 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        environ = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "udp"}
        prefix, passing = (sys.executable, "-c", code), (passed.fileno(),)
        options: dict[str, Any] = {"environ": environ, "prefix": prefix, "pass_fds": passing}
        with running(tmp_path, udp([a.address]), workers=2, static=points(1), **options) as lb:
            lb.runs(1)
            with clients(port, 10) as all:
                for number in range(3):
                    assert [client.ask(b"%d" % number) for client in all] == [b"%d" % number] * 10
                assert len(a.sources) == 10


def test_a_port_that_another_program_has_is_an_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with running(tmp_path, {}, static=points(port)) as lb:
            assert lb.process.wait(60) == 1
            assert f"cannot listen on 127.0.0.1:{port}/udp: address already in use" in lb.log


@pytest.mark.parametrize("command", ["status"])
def test_status_speaks_of_udp(tmp_path: Path, command: str) -> None:

    api = free_port()
    static = points(0)
    static["entryPoints"]["traefik"] = {"address": f"127.0.0.1:{api}"}
    static["api"] = {"insecure": True}
    dead = f"127.0.0.1:{free_port()}"
    server = UdpServer("a")
    try:
        dynamic = udp([server.address, dead], healthCheck={"interval": "50ms", "timeout": "500ms"})
        with running(tmp_path, dynamic, static=static) as lb:
            lb.runs(1)

            def shown() -> str:
                done = run_command(command, "--api", f"http://127.0.0.1:{api}")
                return done.stdout if done.returncode == 2 else ""

            text = eventually(lambda: shown(), "a problem is told")
            assert "UDP: 1 router (0 disabled), 1 service (0 disabled)" in text
            assert "UDP service all@file: 1 of 2 servers down" in " ".join(text.split())
            client = UdpClient(receives(lb))
            assert client.ask(b"x") == b"a x"
            client.close()
    finally:
        server.close()
