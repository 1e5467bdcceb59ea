"""Threads of a worker end when nothing is left to do; beside those of the supervisor that compute, one ticks."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lbcore.process.threads import TICK_NS, PassingThreads, TickingThreads
from tests.support.instance import becomes_true, eventually


def test_threads_end_after_the_last_of_many_calls_and_begin_again() -> None:
    async def main() -> None:
        before = set(threading.enumerate())
        loop = asyncio.get_running_loop()
        loop.set_default_executor(PassingThreads(loop))
        for _ in range(3):
            calls = [asyncio.to_thread(pow, 2, n) for n in range(200)]
            assert await asyncio.gather(*calls) == [2**n for n in range(200)]
            await becomes_true(lambda: set(threading.enumerate()) <= before)

    asyncio.run(main())


def test_a_thread_waits_for_another_call_before_it_ends() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(PassingThreads(loop))
        threads = [await asyncio.to_thread(threading.get_native_id)]
        while len(threads) < 100 and len(set(threads)) == len(threads):
            await asyncio.sleep(0.01)
            threads.append(await asyncio.to_thread(threading.get_native_id))
        assert len(set(threads)) < len(threads)

    asyncio.run(main())


def test_an_error_is_raised_and_ends_its_thread() -> None:
    async def main() -> None:
        before = set(threading.enumerate())
        loop = asyncio.get_running_loop()
        loop.set_default_executor(PassingThreads(loop))
        found = await asyncio.gather(*(asyncio.to_thread(int, "x") for _ in range(9)), return_exceptions=True)
        assert [type(error) for error in found] == [ValueError] * 9
        await becomes_true(lambda: set(threading.enumerate()) <= before)

    asyncio.run(main())


def test_the_loop_waits_at_its_end_for_what_is_under_way() -> None:
    done = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(PassingThreads(loop))
        loop.run_in_executor(None, lambda: threading.Event().wait(0.2) or done.set())

    asyncio.run(main())
    assert done.is_set()


def wake_ups() -> int:
    """How often the thread that ticks has slept so far."""
    [thread] = [thread for thread in threading.enumerate() if thread.name == "lbcore ticks"]
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)
    assert found is not None
    return int(found[1])


def compute(until: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not until() and time.monotonic() < give_up:
        sum(range(1000))


def test_a_thread_ticks_while_others_compute() -> None:
    with TickingThreads() as threads:
        first = wake_ups()
        for _ in range(2):
            before = wake_ups()
            threads.submit(compute, lambda before=before: wake_ups() > before + 200).result()
            assert wake_ups() > before + 200
            eventually(rests, "it sleeps")
        assert wake_ups() > first + 400


def rests() -> bool:
    before = wake_ups()
    time.sleep(0.2)
    return wake_ups() - before <= 1


def test_no_thread_ticks_while_others_wait() -> None:
    waits = threading.Event()
    with TickingThreads() as threads:
        call = threads.submit(waits.wait, 30)

        def ticks_seldom() -> bool:
            began, before = time.monotonic(), wake_ups()
            time.sleep(0.2)
            return wake_ups() - before < 0.35 * (time.monotonic() - began) / TICK_NS * 1e9

        eventually(ticks_seldom, "it looks seldom")
        waits.set()
        assert call.result()


def test_errors_of_calls_beside_ticks_are_raised() -> None:
    with TickingThreads() as threads:
        with pytest.raises(ValueError, match="invalid literal"):
            threads.submit(int, "x").result()
        eventually(rests, "it sleeps")
    with pytest.raises(RuntimeError, match="after shutdown"):
        threads.submit(int, "1")
