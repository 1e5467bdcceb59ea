"""The service manager's protocol: states reach its socket, passed sockets are taken by name."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lbcore.process.notify import Notifier, passed_sockets


def test_notifier_sends_states_to_the_manager(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000", "HOME": "/"}
        notifier = Notifier(environ)
        assert environ == {"HOME": "/"}
        assert notifier.watchdog_s == 3
        notifier.ready("2 workers\nrun")
        assert manager.recv(4096) == b"READY=1\nSTATUS=2 workers run"
        notifier.reloading()
        assert manager.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        notifier.alive()
        assert manager.recv(4096) == b"WATCHDOG=1"
        notifier.stopping("bye")
        assert manager.recv(4096) == b"STOPPING=1\nSTATUS=bye"
        notifier.close()
        notifier.ready("not sent any more")


def test_notifier_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"lbcore-test-{os.getpid()}"
        manager.bind("\0" + name)
        manager.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": "@" + name})
        notifier.status("up")
        assert manager.recv(4096) == b"STATUS=up"
        notifier.close()


@pytest.mark.parametrize(
    "environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "/nonexistent/notify"}]
)
def test_notifier_without_a_manager_does_nothing(environ: dict[str, str]) -> None:
    notifier = Notifier(environ)
    notifier.ready("x")
    notifier.alive()
    notifier.close()


def test_notifier_watchdog_of_another_process_is_not_ours() -> None:
    notifier = Notifier({"NOTIFY_SOCKET": "/nonexistent", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"})
    assert notifier.watchdog_s == 0
    notifier.close()


def test_passed_sockets_are_taken_by_name() -> None:
    script = (
        "import os, sys\n"
        "from lbcore.process.notify import passed_sockets\n"
        "os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "found = passed_sockets(os.environ)\n"
        "print({name: [s.getsockname()[1] for s in sockets] for name, sockets in sorted(found.items())})\n"
        "print([s.get_inheritable() or s.getblocking() for sockets in found.values() for s in sockets])\n"
        "print(sorted(name for name in os.environ if name.startswith('LISTEN')))\n"
    )
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [sock.getsockname()[1] for sock in sockets]

    def place() -> None:
        high = [os.dup2(sock.fileno(), 100 + index) for index, sock in enumerate(sockets)]
        for index, fd in enumerate(high):
            os.dup2(fd, 3 + index, inheritable=True)

    environ = {**os.environ, "LISTEN_FDS": "3", "LISTEN_FDNAMES": "web:web:admin"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environ,
        preexec_fn=place,
        close_fds=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    for sock in sockets:
        sock.close()
    assert done.stdout.splitlines() == [
        str({"admin": [ports[2]], "web": ports[:2]}),
        "[False, False, False]",
        "[]",
    ], done.stderr


def test_passed_sockets_of_another_process_are_not_ours() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"}
    assert passed_sockets(environ) == {}
    assert environ == {}
