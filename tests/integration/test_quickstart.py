"""What `make run` starts, at a terminal."""

from __future__ import annotations

import fcntl
import http.client
import os
import select
import shutil
import subprocess
import sys
import termios
from collections import Counter
from pathlib import Path

from tests.support.instance import eventually, processes_of
from tests.support.ports import replace_ports

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "quickstart"


def backend_of(port: int) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/")
    return connection.getresponse().headers["X-Backend"]


def test_demo_shows_the_answering_server_and_leaves_no_files_after_ctrl_c(tmp_path: Path) -> None:
    folder = tmp_path / "examples" / "quickstart"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    ports = replace_ports(folder, "8000", "8080", "8101", "8102", "8103")
    terminal, inner = os.openpty()

    def take_terminal() -> None:
        """In the child: make the terminal the one that Ctrl-C comes from."""
        os.setsid()
        fcntl.ioctl(inner, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, str(folder / "demo.py")],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env={**os.environ, "TERM": "xterm"},
        preexec_fn=take_terminal,
    )
    os.close(inner)
    shown = b""

    def shows(text: bytes) -> bool:
        nonlocal shown
        while select.select([terminal], [], [], 0)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # the other side has closed
                break
        return bool(text) and text in shown

    try:
        eventually(lambda: shows(b"Ctrl-C ends everything"), "it says what to try", 30)
        found = Counter(backend_of(int(ports["8000"])) for _ in range(12))
        assert found == {"v1-a": 6, "v1-b": 4, "v2": 2}
        eventually(lambda: shows(b"50.0 %"), "it shows who answers")
        status = [sys.executable, "-m", "lbcore", "status", "--api", f"http://127.0.0.1:{ports['8080']}"]
        result = subprocess.run(status, capture_output=True, text=True, timeout=30)
        assert result.returncode == 0, result
        assert "shop@file loadbalancer" in result.stdout
        assert f"http://127.0.0.1:{ports['8080']}/dashboard/".encode() in shown
        os.write(terminal, b"\x03")
        eventually(lambda: shows(b"") or process.poll() is not None, "it ends", 20)
        shows(b"")
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert b"Traceback" not in shown, shown.decode()
    assert processes_of(folder) == []
