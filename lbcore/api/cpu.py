"""What part of a CPU processes use, by what the kernel says of them. I/O: /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

TICKS = os.sysconf("SC_CLK_TCK")


def used_s(pid: int) -> float:
    """The CPU time of a process so far, in user and system mode; 0 if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name of the program, in parentheses, may contain anything.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


class CpuMeter:
    """The part of a CPU that each of some processes has used since the last look."""

    def __init__(self) -> None:
        self._looked_s = 0.0
        self._used: dict[int, float] = {}
        self.parts: list[float] = []  # 0 to 1, in the order of `pids`; empty before the second look

    def look(self, pids: Sequence[int]) -> None:
        """Measure up to now."""
        now_s, used = time.monotonic(), {pid: used_s(pid) for pid in pids}
        passed_s, before, self.parts = now_s - self._looked_s, self._used, []
        if before and passed_s > 0:
            # A process that is new has used nothing before it was there.
            parts = [(each - before.get(pid, 0.0)) / passed_s for pid, each in used.items()]
            self.parts = [round(min(max(part, 0.0), 1.0), 3) for part in parts]
        self._looked_s, self._used = now_s, used
