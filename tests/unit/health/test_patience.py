"""The time limit of a health check: what this loop could not notice does not count."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from lbcore.health.patience import within


def test_answer_that_came_while_the_loop_was_held_up_counts() -> None:
    async def test() -> None:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)

        async def ask() -> None:
            assert await reader.readexactly(2) == b"ok"

        asyncio.get_running_loop().call_later(0.02, time.sleep, 0.5)  # nothing is read meanwhile
        threading.Timer(0.1, theirs.sendall, [b"ok"]).start()
        await within(0.2, ask())
        writer.close()
        theirs.close()

    asyncio.run(test())


def test_loop_that_is_held_up_again_and_again_gives_an_answer_its_time() -> None:
    async def test() -> None:
        async def hold_up() -> None:
            while True:
                time.sleep(0.1)
                await asyncio.sleep(0)

        holding = asyncio.create_task(hold_up())
        answered = asyncio.Event()

        async def ask() -> None:
            for _ in range(4):  # connecting, sending, reading: as many turns
                await asyncio.sleep(0)
            answered.set()

        await within(0.2, ask())
        assert answered.is_set()
        holding.cancel()

    asyncio.run(test())


def test_silence_ends_after_the_limit_and_what_was_under_way_is_cancelled() -> None:
    async def test() -> None:
        cancelled = asyncio.Event()

        async def ask() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        since = time.monotonic()
        with pytest.raises(TimeoutError):
            await within(0.2, ask())
        assert time.monotonic() - since >= 0.19
        await asyncio.wait_for(cancelled.wait(), 5)

    asyncio.run(test())


def test_error_of_what_is_awaited_is_raised() -> None:
    async def fail() -> None:
        raise OSError("refused")

    with pytest.raises(OSError, match="refused"):
        asyncio.run(within(1, fail()))
