"""Writes blocks of log lines on a thread of its own, so that a slow disk or a full pipe keeps no request waiting."""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import stat
import threading

QUEUE_BYTES = 16 << 20  # blocks beyond are dropped, and counted

_Item = bytes | None


class LogWriter:
    """Appends to a file, or to standard output.

    path     empty: standard output.
    lock_fd  a file all writers share. While a block goes to what is no regular file, it is locked: blocks longer than a
             pipe takes at once do not mix. Appending to a regular file is atomic as it is.
    Raises OSError when the file cannot be opened.
    """

    def __init__(self, path: str, lock_fd: int) -> None:
        self._path = path
        self._lock_fd = lock_fd
        self._fd = -1
        self._regular = False
        self._queued = 0
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self.dropped = 0  # blocks
        self._open()
        self._thread = threading.Thread(target=self._run, name="lbcore access log", daemon=True)
        self._thread.start()

    def _open(self) -> None:
        fd = (
            os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            if self._path
            else os.dup(1)
        )
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._regular = stat.S_ISREG(os.fstat(fd).st_mode)

    def __call__(self, block: bytes) -> None:
        """Take a block of whole lines. Never waits."""
        if self._queued + len(block) > QUEUE_BYTES:
            self.dropped += 1
            return
        self._queued += len(block)
        self._queue.put(block)

    def reopen(self) -> None:
        """Open the file anew, after what was handed over so far: it was moved aside."""
        self._queue.put(b"")

    def close(self) -> None:
        """Write what there is, and end."""
        self._queue.put(None)
        self._thread.join(2)

    def _run(self) -> None:
        while (block := self._queue.get()) is not None:
            self._queued -= len(block)
            with contextlib.suppress(OSError):
                if not block:
                    self._open()
                elif self._regular:
                    self._write(block)
                else:
                    self._write_locked(block)

    def _write_locked(self, block: bytes) -> None:
        fcntl.lockf(self._lock_fd, fcntl.LOCK_EX)
        try:
            self._write(block)
        finally:
            fcntl.lockf(self._lock_fd, fcntl.LOCK_UN)

    def _write(self, block: bytes) -> None:
        while block:
            block = block[os.write(self._fd, block) :]
