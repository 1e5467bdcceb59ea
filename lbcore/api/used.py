"""The memory that a process uses, by what the kernel and libc say. I/O: /proc."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE")
SUMS = {
    "residentBytes": ("Rss",),
    "proportionalBytes": ("Pss",),
    "privateBytes": ("Private_Clean", "Private_Dirty"),
    "swappedBytes": ("SwapPss",),
}
MALLINFO2 = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")

Used = dict[str, Any]


def used_by(pid: int | str) -> Used:
    """The memory of a process in bytes: resident, proportional (of pages that several processes share, the part that
    falls to it), private, and swapped out. Where the kernel does not tell more, the resident memory alone. Raises
    OSError if there is no such process."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (PermissionError, FileNotFoundError):
        lines = []
    found: dict[str, int] = {}
    for line in lines[1:]:
        name, _, text = line.partition(":")
        with contextlib.suppress(ValueError, IndexError):
            found[name] = int(text.split()[0]) * 1024
    if "Pss" not in found:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        return {"residentBytes": resident, **dict.fromkeys([*SUMS][1:])}
    return {key: sum(found.get(name, 0) for name in names) for key, names in SUMS.items()}


class _Info(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO2)


def heap() -> Used | None:
    """The heap of this process in bytes: what is allocated, also of it what nothing has touched yet, and what is free
    and libc keeps. None: this libc does not tell."""
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return None
    ask.restype = _Info
    info: Any = ask()
    return {"allocatedBytes": info.uordblks + info.hblkhd, "freeBytes": info.fordblks}


def own() -> Used:
    """`used_by` and `heap` of this process. Takes milliseconds: to be called in a thread."""
    return {"pid": os.getpid(), **used_by("self"), "heap": heap()}


def identity(pid: int) -> dict[str, int]:
    """What no other process has had since the machine was started: a number may be that of another one later. Raises
    OSError if there is no such process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] in "ZX":
        raise ProcessLookupError(f"process {pid} has ended")
    return {"pid": pid, "startTicks": int(fields[19])}
