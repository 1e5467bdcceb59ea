"""What importing a selector costs."""

from __future__ import annotations

import subprocess
import sys
import time

ABSENT = {
    "socket", "_socket", "ssl", "asyncio", "uvloop", "typing", "dataclasses", "inspect", "hashlib", "random", "re",
}  # fmt: skip
WANTED = "from lbcore.selection import SmoothWRR"


def best_ms(code: str) -> float:
    """The shortest of several runs of a fresh interpreter, without `site`, whose .pth files are not ours."""
    found = []
    for _ in range(15):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-S", "-E", "-c", code], check=True)
        found.append((time.perf_counter() - begun) * 1000)
    return min(found)


def test_no_network_and_nothing_heavy_is_loaded() -> None:
    code = f"import sys; {WANTED}; lb = SmoothWRR({{'a': 5, 'b': 1}}); lb.pick(); print(*sys.modules)"
    code = f"import sys; sys.path[:0] = {sys.path!r}; {code}"
    loaded = subprocess.run([sys.executable, "-S", "-E", "-c", code], capture_output=True, text=True, check=True)
    assert not ABSENT & set(loaded.stdout.split())


def test_it_takes_less_than_ten_milliseconds() -> None:
    paths = f"import sys; sys.path[:0] = {sys.path!r}; "
    assert best_ms(paths + WANTED) - best_ms(paths) < 10
