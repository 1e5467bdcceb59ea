"""A time limit that counts only the time in which this loop could have noticed the answer. No I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

PARTS = 20  # parts of a limit: a pause of the loop counts as one part at most, however long it was
LAST_TURNS = 5  # iterations of the loop before the timeout, so that bytes in the socket are read


async def within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """Await `work`. Raises TimeoutError if it takes longer than `seconds`.

    After a pause of the loop, a plain timer fires before the loop has read its sockets, so that an answer that has
    arrived in time would be missed.
    """
    task = asyncio.ensure_future(work)
    part_s = seconds / PARTS
    left = PARTS
    try:
        while left > 0:
            done, _ = await asyncio.wait({task}, timeout=part_s)
            if done:
                return task.result()
            left -= 1
        for _ in range(LAST_TURNS):
            if task.done():
                return task.result()
            await asyncio.sleep(0)
        if task.done():
            return task.result()
        raise TimeoutError
    finally:
        task.cancel()
