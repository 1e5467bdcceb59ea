"""Who has to wait for whom, where threads of lbcore share a processor.

The loop of a worker runs for some tens of microseconds at a time, and a client waits for each of them. What reads
configurations and makes tables of them runs for many milliseconds, and nobody waits for one of these. Linux treats both
alike: the loop may have to wait until the slice of the other is over, which takes some milliseconds. A thread that has
asked for shorter slices than the one at work runs as soon as it wakes up (EEVDF, Linux 6.12; sched_setattr(2),
`sched_runtime` of SCHED_OTHER). Its part of the processor is the same. Older kernels ignore what is asked for here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
import time

SHORT_NS = 100_000  # the least that Linux gives
PUNCTUAL_NS = 1_000  # how late timers may be; Linux allows itself 50,000
LONG_NS = 20_000_000
GIVEN_S = 0.0001
NICE = 10  # a tenth of the processor, while a worker wants all of it
ASIDE_NICE = 5  # a quarter of it

_ATTRIBUTES = struct.Struct("=IIQiIQQQII")  # struct sched_attr
_NUMBERS = {"x86_64": 314, "aarch64": 274, "riscv64": 274, "ppc64le": 355, "s390x": 345}  # of the system call
_KEEP_POLICY = 0x08
_SET_TIMER_SLACK = 29  # of prctl(2)


def serve_first() -> None:
    """Have this thread run as soon as there is something to do, and at the very time that it waits for, which mostly is
    its turn to have the interpreter's lock (`sys.setswitchinterval`). What it starts inherits that."""
    _ask(SHORT_NS)
    ctypes.CDLL(None).prctl(_SET_TIMER_SLACK, PUNCTUAL_NS, 0, 0, 0)


def work_behind() -> None:
    """Have this thread, and those that it starts, let others run first: those that serve, and all whose work is short.

    Its part of the processor stays the same: a configuration is read in time on a busy machine, too.
    """
    _ask(LONG_NS)


def work_aside() -> None:
    """`work_behind`, and let others have three times as much of the processor: also those that have just had much."""
    with contextlib.suppress(OSError):
        os.nice(ASIDE_NICE)
    _ask(LONG_NS)


def work_last() -> None:
    """`work_behind`, and let others have most of the processor. For threads of a process that serves nobody: another
    thread that waits for the interpreter's lock would wait for all who have the processor meanwhile."""
    with contextlib.suppress(OSError):
        os.nice(NICE)
    _ask(LONG_NS)


def give_way() -> None:
    """Let others run, also those to which the kernel owes nothing: a thread that has just run would wait for a tick."""
    with contextlib.suppress(OSError):  # where a clock is set while it is asked, as by libfaketime
        time.sleep(GIVEN_S)


def _ask(slice_ns: int) -> None:
    """Ask for slices of that length, if this thread is scheduled as most are."""
    number = _NUMBERS.get(platform.machine())
    if number is None or os.sched_getscheduler(0) not in (os.SCHED_OTHER, os.SCHED_BATCH):
        return
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, 0, _KEEP_POLICY, nice, 0, slice_ns, 0, 0, 0, 0)
    ctypes.CDLL(None).syscall(number, 0, attributes, 0)
