"""Threads of a worker end when nothing is left to do."""

from __future__ import annotations

import asyncio
import threading

from lbcore.process.threads import PassingThreads
from tests.support.instance import becomes_true


def test_threads_end_after_the_last_of_many_calls_and_begin_again() -> None:
    async def main() -> None:
        before = set(threading.enumerate())
        asyncio.get_running_loop().set_default_executor(PassingThreads())
        for _ in range(3):
            calls = [asyncio.to_thread(pow, 2, n) for n in range(200)]
            assert await asyncio.gather(*calls) == [2**n for n in range(200)]
            await becomes_true(lambda: set(threading.enumerate()) <= before)

    asyncio.run(main())


def test_an_error_is_raised_and_ends_its_thread() -> None:
    async def main() -> None:
        before = set(threading.enumerate())
        asyncio.get_running_loop().set_default_executor(PassingThreads())
        found = await asyncio.gather(*(asyncio.to_thread(int, "x") for _ in range(9)), return_exceptions=True)
        assert [type(error) for error in found] == [ValueError] * 9
        await becomes_true(lambda: set(threading.enumerate()) <= before)

    asyncio.run(main())


def test_the_loop_waits_at_its_end_for_what_is_under_way() -> None:
    done = threading.Event()

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(PassingThreads())
        asyncio.get_running_loop().run_in_executor(None, lambda: threading.Event().wait(0.2) or done.set())

    asyncio.run(main())
    assert done.is_set()
