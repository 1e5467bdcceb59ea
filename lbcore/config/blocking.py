"""Calls that may never return, such as reading a file on a dead network mount: made in threads, with a timeout.

A thread cannot be ended from outside. A stuck thread is abandoned: it delays neither its caller nor the end of the
process, and no call with its key is made until it has returned.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

MOST_STUCK = 32  # threads that may be stuck at once

T = TypeVar("T")


class BlockedError(OSError):
    """A call has not returned in time."""


class BlockingCalls:
    """Makes calls with keys, from any thread. `stuck` calls have the keys in it."""

    def __init__(self) -> None:
        self._stuck: dict[Future[Any], str] = {}
        self._lock = threading.Lock()

    @property
    def stuck(self) -> frozenset[str]:
        with self._lock:
            return frozenset(self._stuck.values())

    def wait(self, key: str, seconds: float, call: Callable[[], T]) -> T:
        """The result of `call`, for code that may wait. Raises as `run` does."""
        future = self._start(key, call)
        try:
            return future.result(seconds)
        except TimeoutError:
            raise self._late(future, seconds) from None
        finally:
            self._leave(future, key)

    async def run(self, key: str, seconds: float, call: Callable[[], T]) -> T:
        """The result of `call`. Raises what it raises, or BlockedError: after `seconds`, or if too many are stuck."""
        future = self._start(key, call)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise self._late(future, seconds) from None
        finally:
            self._leave(future, key)

    def _start(self, key: str, call: Callable[[], T]) -> Future[T]:
        with self._lock:
            if key in self._stuck.values() or len(self._stuck) >= MOST_STUCK:
                raise BlockedError("it does not answer")
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # from here on, nobody who waits for it can cancel it

        def work() -> None:
            result: Any = None
            failure: BaseException | None = None
            try:
                result = call()
            except BaseException as error:
                failure = error
            with self._lock:
                self._stuck.pop(future, None)
                if failure is not None:
                    future.set_exception(failure)
                else:
                    future.set_result(result)

        threading.Thread(target=work, name=f"lbcore {key}", daemon=True).start()
        return future

    @staticmethod
    def _late(future: Future[Any], seconds: float) -> BaseException:
        """What to raise after a TimeoutError, which may be that of the call itself."""
        own = future.exception() if future.done() else None
        return own or BlockedError(f"it has not answered for {seconds:g} s")

    def _leave(self, future: Future[Any], key: str) -> None:
        """Wait for it no longer."""
        with self._lock:
            if not future.done():
                self._stuck[future] = key
