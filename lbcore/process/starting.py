"""How a worker process is started: as a new program, here, or by a fork, in `forkserver`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

WORKER_NAME = "lbcore-worker"
COMMAND = (sys.executable, "-P", "-m", "lbcore.process.worker")


class Process(NamedTuple):
    """A worker as the kernel sees it, which every way to start one gives; see `Child` for what it does.

    pidfd  belongs to who has started it. It is readable when the process has ended.
    code   how it has ended, to be asked then: its exit code, the negative number of a signal, or None, not known.
    """

    pid: int
    pidfd: int
    code: Callable[[], Awaitable[int | None]]


class Starter(Protocol):
    """A way to start workers."""

    async def start(self, control: int, fds: Sequence[int]) -> Process:
        """Start a worker that has `fds`, and `control`, its end of the channel, under the same numbers.

        The descriptors are passed before this waits. Raises OSError when no process can be created.
        """

    def close(self) -> None:
        """Free what it holds. The workers go on."""


class Program:
    """Starts workers as new programs: they have nothing of this process, its loop or its threads."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command

    async def start(self, control: int, fds: Sequence[int]) -> Process:
        """See `Starter`."""
        process = subprocess.Popen(
            [*self._command, "--control", str(control)],
            pass_fds=[*fds, control],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": python_path()},
        )

        async def code() -> int | None:
            return process.wait()  # at once, for it has ended

        try:
            return Process(process.pid, os.pidfd_open(process.pid), code)
        except OSError:
            process.kill()
            process.wait()
            raise

    def close(self) -> None:
        """See `Starter`."""


def python_path() -> str:
    """PYTHONPATH for the programs that find their modules where this one does."""
    return os.pathsep.join(filter(None, sys.path))


def name_process(name: str) -> None:
    """Name this process, as `ps -o comm` and `top` show it. 15 characters at most."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)
