"""Calls that may never return, such as reading a file on a dead network mount: made in threads, with a timeout.

A thread cannot be ended from outside. A stuck thread is abandoned: it delays neither the loop nor the end of the
process, and no call with its key is made until it has returned.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

MOST_STUCK = 32  # threads that may be stuck at once

T = TypeVar("T")


class BlockedError(OSError):
    """A call has not returned in time."""


class BlockingCalls:
    """Makes calls with keys; for each key, one call at a time."""

    def __init__(self) -> None:
        self._running: set[str] = set()

    async def run(self, key: str, seconds: float, call: Callable[[], T]) -> T:
        """The result of `call`. Raises what it raises, or BlockedError: after `seconds`, or if too many are stuck."""
        if key in self._running or len(self._running) >= MOST_STUCK:
            raise BlockedError("it does not answer")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            self._running.discard(key)
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def work() -> None:
            result: Any = None
            failure: BaseException | None = None
            try:
                result = call()
            except Exception as error:
                failure = error
            try:
                loop.call_soon_threadsafe(settle, result, failure)
            except RuntimeError:
                self._running.discard(key)  # the loop was closed meanwhile

        self._running.add(key)
        threading.Thread(target=work, name=f"lbcore {key}", daemon=True).start()
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            raise BlockedError(f"it has not answered for {seconds:g} s") from None
