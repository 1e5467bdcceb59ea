"""What serves runs before what reads configurations, where both share a processor."""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lbcore.native.slices import ASIDE_NICE, LONG_NS, NICE, SHORT_NS, serve_first, work_aside, work_behind, work_last
from lbcore.process.threads import PassingThreads
from tests.support.instance import Backend, dynamic_for, running

GETATTR = {"x86_64": 315, "aarch64": 275}[platform.machine()]
ATTRIBUTES = struct.Struct("=IIQiIQQQII")


def attributes_of(thread: int) -> tuple[int, int]:
    """Nice value and slice in nanoseconds of a thread; its slice is 0 before Linux 6.12."""
    found = ctypes.create_string_buffer(ATTRIBUTES.size)
    assert ctypes.CDLL(None).syscall(GETATTR, thread, found, ATTRIBUTES.size, 0) == 0
    _, _, _, nice, _, slice_ns, *_ = ATTRIBUTES.unpack(found.raw)
    return nice, slice_ns


def in_thread(work: Callable[[], None]) -> tuple[int, int]:
    found: list[tuple[int, int]] = []

    def run() -> None:
        work()
        found.append(attributes_of(threading.get_native_id()))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


KNOWS_SLICES = bool(attributes_of(0)[1])  # the kernel


def slice_of(length_ns: int) -> int:
    return length_ns if KNOWS_SLICES else 0


@pytest.mark.parametrize(
    ("ask", "nice", "slice_ns"),
    [
        (serve_first, 0, SHORT_NS),
        (work_behind, 0, LONG_NS),
        (work_aside, ASIDE_NICE, LONG_NS),
        (work_last, NICE, LONG_NS),
    ],
)
def test_a_thread_asks_for_its_slices(ask: Callable[[], None], nice: int, slice_ns: int) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert in_thread(ask) == (min(own + nice, 19), slice_of(slice_ns))


def test_threads_of_a_worker_let_its_loop_run_first() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(PassingThreads(loop))
        nice, slice_ns = await asyncio.to_thread(lambda: attributes_of(threading.get_native_id()))
        assert (nice, slice_ns) == (os.getpriority(os.PRIO_PROCESS, 0), slice_of(LONG_NS))

    asyncio.run(main())


def test_workers_run_before_the_threads_that_read_configurations(tmp_path: Path, backends: list[Backend]) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with running(tmp_path, dynamic_for(backends[0])) as lb:
        lb.runs(1)
        assert [attributes_of(pid) for pid in lb.workers] == [(own, slice_of(SHORT_NS))] * 2
        supervisor = lb.process.pid
        assert attributes_of(supervisor) == (own, slice_of(LONG_NS))
        threads = [int(task.name) for task in Path(f"/proc/{supervisor}/task").iterdir()]
        assert len(threads) > 1
        found = [attributes_of(thread) for thread in threads]
        slices = [slice_ns for _, slice_ns in found]
        assert slices.count(slice_of(SHORT_NS)) == (1 if KNOWS_SLICES else len(slices))
        assert set(slices) == {slice_of(SHORT_NS), slice_of(LONG_NS)}
        assert {nice for nice, _ in found} <= {own, min(own + ASIDE_NICE, 19)}
        lb.write(dynamic_for(backends[1]))
        lb.runs(2)
        lb.write(dynamic_for(backends[0]))
        lb.runs(3)
        nices = [attributes_of(int(task.name))[0] for task in Path(f"/proc/{supervisor}/task").iterdir()]
        assert min(own + ASIDE_NICE, 19) in nices
