"""The executor of a worker: its threads let the loop run first, and end when nothing is left to do.

In a process with a second thread, even an idle one, each system call on a descriptor counts itself as a user of it:
even a call that finds nothing costs more then. A worker makes several of them per request, and needs a thread a few
times a day.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from lbcore.native.slices import work_behind


class PassingThreads(ThreadPoolExecutor):
    """For `loop.set_default_executor`. As many threads at once as a ThreadPoolExecutor has."""

    def __init__(self) -> None:
        super().__init__()
        self._pool: ThreadPoolExecutor | None = None  # while calls are under way
        self._calls = 0
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
            if self._calls == 0 and self._pool is not None:
                self._pool.shutdown(wait=False)
                self._pool = None

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._guard:
            pool = self._pool
        if pool is not None:
            pool.shutdown(wait=wait, cancel_futures=cancel_futures)
        super().shutdown(wait=wait, cancel_futures=cancel_futures)
