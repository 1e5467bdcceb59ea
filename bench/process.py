"""Processes of a benchmark: started on one core, measured by what the kernel charges them, always ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PROXY_CORE, LOAD_CORE = 0, 1


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of processor time."""

    user_s: float
    system_s: float

    def __sub__(self, other: Cpu) -> Cpu:
        return Cpu(self.user_s - other.user_s, self.system_s - other.system_s)


def pin(core: int, first: bool = False) -> None:
    """In the child: run on one core, and end when the benchmark ends (prctl(2), PR_SET_PDEATHSIG).

    first  run before whatever else is on that core, where that is allowed.
    """
    os.sched_setaffinity(0, {core})
    if first:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def start(
    command: Sequence[str], core: int, folder: Path, environ: Mapping[str, str] = {}, first: bool = False
) -> subprocess.Popen[bytes]:
    """Start a server on a core; what it says goes to a file in `folder`.

    first  it runs before whatever else is on its core.
    """
    log = (folder / "output.log").open("ab")
    return subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, **environ},
        preexec_fn=lambda: pin(core, first),
    )


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found, queue = [], [pid]
    while queue:
        found.append(queue.pop())
        for children in Path(f"/proc/{found[-1]}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                queue += map(int, children.read_text().split())
    return found


def cpu(pid: int) -> Cpu:
    """Processor time of a process and its descendants so far."""
    user = system = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            user += int(fields[11])
            system += int(fields[12])
    return Cpu(user * TICK_S, system * TICK_S)


def memory_bytes(pid: int) -> int:
    """Memory of a process and its descendants, shared pages by share (PSS)."""
    total = 0
    for one in family(pid):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End a process and its descendants with the block."""
    try:
        yield process
    finally:
        pids = family(process.pid)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def wait_until(condition: object, what: str, limit_s: float = 15) -> None:
    """Poll a callable; RuntimeError when it stays false."""
    assert callable(condition)
    give_up = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > give_up:
            raise RuntimeError(f"not within {limit_s:g} s: {what}")
        time.sleep(0.02)
