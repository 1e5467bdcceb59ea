"""What `make run` starts, at a terminal."""

from __future__ import annotations

import http.client
import os
import pty
import re
import select
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

from tests.integration.test_static import free_port
from tests.support.instance import eventually

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "quickstart"


def backend_of(port: int) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/")
    return connection.getresponse().headers["X-Backend"]


def test_demo_shows_who_answers_and_leaves_nothing_behind_after_ctrl_c(tmp_path: Path) -> None:
    folder = tmp_path / "examples" / "quickstart"
    shutil.copytree(EXAMPLE, folder)
    ports = {number: str(free_port()) for number in ("8000", "8101", "8102", "8103")}
    for path in folder.glob("*.*"):
        path.write_text(re.sub(r"8000|810[123]", lambda found: ports[found[0]], path.read_text()))
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, str(folder / "demo.py")])
    shown = b""

    def shows(text: bytes) -> bool:
        nonlocal shown
        while select.select([terminal], [], [], 0)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # the other side has closed
                break
        return text in shown

    try:
        eventually(lambda: shows(b"Ctrl-C ends everything"), "it says what to try", 30)
        found = Counter(backend_of(int(ports["8000"])) for _ in range(12))
        assert found == {"v1-a": 6, "v1-b": 4, "v2": 2}
        eventually(lambda: shows(b"50.0 %"), "it shows who answers")
        os.write(terminal, b"\x03")
        begin = time.monotonic()
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            shows(b"")
            assert time.monotonic() < begin + 20
            time.sleep(0.01)
        pid = 0
        shows(b"")
    finally:
        if pid:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        os.close(terminal)
    assert b"Traceback" not in shown, shown.decode()
    left = [command for path in Path("/proc").glob("[0-9]*/cmdline") if str(folder) in (command := read(path))]
    assert left == []


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
