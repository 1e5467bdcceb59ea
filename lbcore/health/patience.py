"""A time limit that counts only the time in which this loop could have noticed the answer. No I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

PARTS = 20  # of a limit: a loop that was held up, or had no processor, loses one part by that, however long it took
LAST_TURNS = 5  # of the loop before giving up, so that what lies in the socket is read


async def within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """Await `work`. Raises TimeoutError when it takes longer.

    A plain timer fires as soon as a loop turns again that was held up, before the loop has looked at its sockets: an
    answer that came in time would count as none.
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
