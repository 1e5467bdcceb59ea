"""`lbcore run --to`: a load balancer without any file."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbcore.cli.quick import server_of
from tests.support.command import Command
from tests.support.instance import Backend, eventually
from tests.support.ports import free_port


@contextlib.contextmanager
def quick(folder: Path, *arguments: str) -> Iterator[Command]:
    log = folder / "lbcore.log"
    flags = ["--log.level=INFO", f"--log.filePath={log}", "--entryPoints.traefik.address=127.0.0.1:0"]
    process = Command(["run", "--workers", "1", *arguments, *flags], cwd=folder)
    try:
        eventually(lambda: log.exists() and "worker runs configuration 1" in log.read_text(), "it runs")
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_requests_are_balanced_and_stay_so_over_a_reload(tmp_path: Path) -> None:
    one, two = Backend("one"), Backend("two")
    port = free_port()
    try:
        ports = [backend.url.rpartition(":")[2] for backend in (one, two)]
        servers = ["--to", f":{ports[0]}", "--to", f"http://127.0.0.1:{ports[1]}"]
        with quick(tmp_path, *servers, "--from", f"127.0.0.1:{port}") as process:

            def get() -> str:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                with contextlib.closing(connection):
                    connection.request("GET", "/x")
                    return connection.getresponse().read().decode()

            assert Counter(get() for _ in range(6)) == {"one": 3, "two": 3}
            process.send_signal(signal.SIGHUP)
            log = tmp_path / "lbcore.log"
            eventually(lambda: "worker runs configuration 2" in log.read_text(), "it was read again")
            assert Counter(get() for _ in range(6)) == {"one": 3, "two": 3}
            assert "all@command" not in log.read_text()
    finally:
        one.close()
        two.close()


def test_connections_and_datagrams_are_balanced(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        with quick(tmp_path, "--to", f"tcp://127.0.0.1:{server.getsockname()[1]}", "--from", f"127.0.0.1:{port}"):

            def serve() -> None:
                client, _ = server.accept()
                with client:
                    client.sendall(client.recv(10)[::-1])

            threading.Thread(target=serve, daemon=True).start()
            with socket.create_connection(("127.0.0.1", port), 30) as client:
                client.sendall(b"hello")
                assert client.recv(10) == b"olleh"
    (tmp_path / "lbcore.log").unlink()
    with socket.socket(type=socket.SOCK_DGRAM) as server, socket.socket(type=socket.SOCK_DGRAM) as client:
        server.bind(("127.0.0.1", 0))
        with quick(tmp_path, "--to", f"udp://127.0.0.1:{server.getsockname()[1]}", "--from", f"127.0.0.1:{port}"):
            client.connect(("127.0.0.1", port))
            client.settimeout(30)
            client.send(b"hello")
            server.settimeout(30)
            assert server.recv(10) == b"hello"


def test_the_api_has_another_port_where_its_own_is_taken_and_a_terminal_tells(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        with contextlib.suppress(OSError):  # another process has it already
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        terminal, inner = os.openpty()
        command = [sys.executable, "-m", "lbcore", "run", "--workers", "1", "--to", ":9", "--from", "127.0.0.1:0"]
        environ = {**os.environ, "NO_COLOR": "1"}
        streams = {"stdin": subprocess.DEVNULL, "stdout": inner, "stderr": inner}
        process = subprocess.Popen(command, cwd=tmp_path, env=environ, **streams)
        os.close(inner)
        shown = b""
        try:
            while b"  runs" not in shown:
                assert select.select([terminal], [], [], 60)[0], shown
                shown += os.read(terminal, 65536)
            (line,) = [line for line in shown.splitlines() if line.strip().startswith(b"dashboard")]
            assert b"http://127.0.0.1:" in line and b":8080/" not in line
            assert b"configuration of the command: :9" in shown
            assert b"1 router, 1 service, 1 server, 0 middlewares" in shown
        finally:
            process.kill()
            process.wait()
            os.close(terminal)


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (":99999", "error parsing server URL http://127.0.0.1:99999: Port out of range 0-65535"),
        ("http://[::1", "error parsing server URL http://[::1"),
        ("tcp://127.0.0.1:99999", "error parsing server address 127.0.0.1:99999"),
        ("udp://127.0.0.1:99999", "error parsing server address 127.0.0.1:99999"),
    ],
)
def test_a_server_that_cannot_run_is_refused(server: str, said: str) -> None:
    command = [sys.executable, "-m", "lbcore", "run", "--to", server, "--from", "127.0.0.1:0"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 2
    assert f"Error: --to: {said}" in run.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":8101", ("http", "http://127.0.0.1:8101")),
        ("8101", ("http", "http://127.0.0.1:8101")),
        ("shop.test", ("http", "http://shop.test")),
        ("shop.test:81", ("http", "http://shop.test:81")),
        ("https://shop.test", ("http", "https://shop.test")),
        ("H2C://shop.test:81", ("http", "h2c://shop.test:81")),
        ("[::1]:81", ("http", "http://[::1]:81")),
        ("tcp://:5432", ("tcp", "127.0.0.1:5432")),
        ("udp://ns.test:53", ("udp", "ns.test:53")),
    ],
)
def test_servers_are_written_as_people_write_them(text: str, expected: tuple[str, str]) -> None:
    assert server_of(text) == expected
