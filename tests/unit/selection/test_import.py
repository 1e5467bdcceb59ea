"""What importing a selector costs."""

from __future__ import annotations

import os
import subprocess
import sys

ABSENT = {
    "socket", "_socket", "ssl", "asyncio", "uvloop", "typing", "dataclasses", "inspect", "hashlib", "random", "re",
}  # fmt: skip
WANTED = "from lbcore.selection import SmoothWRR"


def cpu_ms(code: str) -> float:
    """Processor time of a fresh interpreter, which others do not lengthen; without `site` and its .pth files."""
    process = subprocess.Popen([sys.executable, "-S", "-E", "-c", code])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = status
    assert status == 0
    return (used.ru_utime + used.ru_stime) * 1000


def test_no_network_and_nothing_heavy_is_loaded() -> None:
    code = f"import sys; {WANTED}; lb = SmoothWRR({{'a': 5, 'b': 1}}); lb.pick(); print(*sys.modules)"
    code = f"import sys; sys.path[:0] = {sys.path!r}; {code}"
    loaded = subprocess.run([sys.executable, "-S", "-E", "-c", code], capture_output=True, text=True, check=True)
    assert not ABSENT & set(loaded.stdout.split())


def test_it_takes_less_than_a_sixth_of_asyncio() -> None:
    paths = f"import sys; sys.path[:0] = {sys.path!r}; "
    codes = (paths, paths + WANTED, paths + "import asyncio")
    rounds = [[cpu_ms(code) for code in codes] for _ in range(15)]
    nothing, wanted, yardstick = (min(found) for found in zip(*rounds, strict=True))
    assert wanted - nothing < (yardstick - nothing) / 6
