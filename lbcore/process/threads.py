"""The executors of the processes.

That of a worker: its threads let the loop run first, and end soon after nothing is left to do.

In a process with a second thread, even an idle one, each system call on a descriptor counts itself as a user of it:
even a call that finds nothing costs more then. A worker makes several of them per request, and needs a thread a few
times a day: then for several calls in a row, and the loop waits until a thread of Python's has started.

That of the supervisor: while a call computes, another thread wakes up three times a millisecond. Each time the kernel
looks who is to run, and finds the loop of a worker that waits for the processor. By itself it looks at its ticks, each
4 ms: so long would a request wait. Once the workers serve, calls also have a smaller part of the processor than these.
See `native.slices` and `native.ticks`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from lbcore.native.slices import serve_first, work_aside, work_behind
from lbcore.native.ticks import Ticker

LINGER_S = 1.0  # that threads wait for another call
TICK_NS = 300_000  # between two ticks
AFTER_NS = 100_000_000  # for which ticks go on after a call, whose outcome the loop of the supervisor passes on


class PassingThreads(ThreadPoolExecutor):
    """For `set_default_executor` of `loop`. As many threads at once as a ThreadPoolExecutor has."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._pool: ThreadPoolExecutor | None = None  # while there are threads
        self._calls = 0  # under way
        self._end: asyncio.TimerHandle | None = None  # of the threads; of the loop alone
        self._guard = threading.Lock()

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with self._guard:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._max_workers, "lbcore", work_behind)
            future = self._pool.submit(call, *args, **kwargs)
            self._calls += 1
        future.add_done_callback(self._done)
        return future

    def _done(self, future: Future[Any]) -> None:
        with self._guard:
            self._calls -= 1
        with contextlib.suppress(RuntimeError):  # the loop is closed, as is then this executor
            self._loop.call_soon_threadsafe(self._linger)

    def _linger(self) -> None:
        if self._end is not None:
            self._end.cancel()
        self._end = self._loop.call_later(LINGER_S, self._pass)

    def _pass(self) -> None:
        self._end = None
        with self._guard:
            if self._calls == 0 and self._pool is not None:
                self._pool.shutdown(wait=False)
                self._pool = None

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._guard:
            pool = self._pool
        if pool is not None:
            pool.shutdown(wait=wait, cancel_futures=cancel_futures)
        super().shutdown(wait=wait, cancel_futures=cancel_futures)


class TickingThreads(ThreadPoolExecutor):
    """For `set_default_executor` of a loop, in a process whose work nobody waits for."""

    def __init__(self) -> None:
        super().__init__(thread_name_prefix="lbcore")
        self._ticker = Ticker(TICK_NS, AFTER_NS)
        self._guard = threading.Lock()
        self._begins = threading.Event()
        self._over = False
        self._serves = False
        self._own = threading.local()
        self._ticks = threading.Thread(target=self._tick, name="lbcore ticks", daemon=True)
        self._ticks.start()

    def others_serve(self) -> None:
        """From now on clients are served by other threads, and calls have a smaller part of the processor."""
        self._serves = True

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._count(1)  # before the call can begin
        try:
            future = super().submit(self._call, call, *args, **kwargs)
        except BaseException:
            self._count(-1)
            raise
        future.add_done_callback(lambda _: self._count(-1))
        return future

    def _call(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if self._serves and not hasattr(self._own, "is_aside"):
            self._own.is_aside = True
            work_aside()
        self._ticker.begin()
        self._begins.set()
        return call(*args, **kwargs)

    def _count(self, step: int) -> None:
        with self._guard:
            self._ticker.count(step)

    def _tick(self) -> None:
        serve_first()
        while not self._over:
            self._begins.wait()
            self._begins.clear()
            self._ticker.run()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._over = True
        self._ticker.end()
        self._begins.set()
        super().shutdown(wait=wait, cancel_futures=cancel_futures)
        if wait:
            self._ticks.join()
