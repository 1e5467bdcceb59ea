"""The writer of the access log of all workers, in the order of time, on a thread: no request waits for a disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import select
import stat
import threading
import time
from collections.abc import Callable
from typing import Protocol

from lbcore.config.regular import is_pipe

STANDBY_S = 0.25  # interval at which a worker checks whether the writing worker has gone
STOP_S = 2.0  # longest time that `close` waits for the pending lines to be written
REPORT_S = 60.0  # lost lines are reported at most once in this time
RETRY_S = 1.0  # between two attempts to reopen the file
PIECE_BYTES = 4096  # a pipe that is ready takes this much without blocking

Say = Callable[[int, str], None]


class Lines(Protocol):
    """The source of the lines: `observability.ring.LineReader`."""

    def merge(self, until_ns: int) -> bytes:
        """Whole lines up to a time, oldest first; empty if there are no more."""

    def release(self) -> None:
        """The lines of the last `merge` are written, or lost."""

    def note_lost(self, lines: int) -> None:
        """Count lines that could not be written."""


class LogWriter:
    """Appends to a file, or to standard output. One of the writers that share `lock_fd` writes, the others stand by.

    path        empty = standard output.
    lock_fd     a file that all writers share; the holder of its lock writes; the lock ends with its process.
    pending     returns the number of this worker's bytes that are not written yet.
    lost        returns the number of lines of all workers that were lost so far.
    interval_s  the time that a line waits for older lines of other workers.
    say         a function of log level and text, called on the thread.
    Raises OSError when the file cannot be opened.
    """

    def __init__(
        self,
        path: str,
        lock_fd: int,
        lines: Lines,
        pending: Callable[[], int],
        lost: Callable[[], int],
        interval_s: float,
        say: Say,
    ) -> None:
        check_writable(path)
        self._path = path
        self._name = f"access log {path or 'on standard output'}"
        self._lock_fd = lock_fd
        self._lines = lines
        self._pending = pending
        self._lost = lost
        self._interval_s = interval_s
        self._say = say
        self._fd = -1
        self._is_regular = False
        self._is_torn = False  # the last line of the file has no line end
        self._reported_lost = 0
        self._reported_at = -REPORT_S
        self._reason = ""  # reason of the losses since the last report
        self._reopen = threading.Event()
        self._retry_at = 0.0
        self._stop = threading.Event()
        self._stopped_at = 0.0
        self._leads = self._lead()
        self._thread = threading.Thread(target=self._run, name="lbcore access log", daemon=True)
        self._thread.start()

    def reopen(self) -> None:
        """Reopen the file, which was moved aside, after writing the lines so far to the old one."""
        self._reopen.set()

    def close(self) -> None:
        """Write the pending lines, or leave them to the worker that writes, and end."""
        self._stopped_at = time.monotonic()
        self._stop.set()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        while not self._leads:
            if self._stop.wait(STANDBY_S):
                if not self._pending() or time.monotonic() > self._stopped_at + STOP_S:
                    return
                time.sleep(self._interval_s)
            self._leads = self._lead()
        self._reported_lost = self._lost()
        try:
            while not self._stop.wait(self._interval_s):
                if self._reopen.is_set():
                    self._follow()
                self._drain(time.monotonic_ns() - int(self._interval_s * 1e9))
                self._report()
            self._drain(time.monotonic_ns())
            self._report(now=True)
        finally:
            if self._fd >= 0:
                os.close(self._fd)
            with contextlib.suppress(OSError):
                fcntl.lockf(self._lock_fd, fcntl.LOCK_UN)

    def _lead(self) -> bool:
        """Become the writing worker, if there is none."""
        try:
            fcntl.lockf(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        self._reopen.clear()
        self._open()
        return True

    def _open(self) -> bool:
        """Open or reopen the file. If that fails, the old one stays open."""
        try:
            fd = open_log(self._path)
        except OSError as error:
            if not self._retry_at:
                self._say(logging.ERROR, f"{self._name} cannot be opened: {error.strerror}; it is tried again")
            self._retry_at = time.monotonic() + RETRY_S
            self._reopen.set()
            return False
        if self._retry_at:
            self._say(logging.WARNING, f"{self._name} is open again")
        self._retry_at = 0.0
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._is_regular = stat.S_ISREG(os.fstat(fd).st_mode)
        self._is_torn = self._is_regular and not _ends_whole(fd)
        return True

    def _follow(self) -> None:
        """Reopen the file after the lines so far, because it was moved aside."""
        if time.monotonic() < self._retry_at:
            return
        self._reopen.clear()
        if not self._retry_at:
            self._drain(time.monotonic_ns())
        self._open()

    def _drain(self, until_ns: int) -> None:
        """Write the lines up to a time."""
        with contextlib.suppress(MemoryError):  # tried again later
            while block := self._lines.merge(until_ns):
                self._write(block)
                self._lines.release()

    def _write(self, block: bytes) -> None:
        """Write whole lines. Count those that cannot be written; the next ones begin on a new line."""
        done = 0
        try:
            if self._fd < 0:
                raise OSError(errno.EBADF, "it is not open")
            if self._is_torn:
                self._put(b"\n")
                self._is_torn = False
            view = memoryview(block)
            while done < len(block):
                done += self._put(view[done:] if self._is_regular else view[done : done + PIECE_BYTES])
        except OSError as error:
            self._is_torn = self._is_torn or (done > 0 and block[done - 1 : done] != b"\n")
            self._reason = error.strerror or str(error)
            self._lines.note_lost(block.count(b"\n", done))

    def _put(self, data: bytes | memoryview) -> int:
        """Write as much as the file takes. Returns the number of bytes. Raises OSError."""
        while not self._is_regular and not _is_ready(self._fd):
            if self._stop.is_set() and time.monotonic() > self._stopped_at + STOP_S / 2:
                raise OSError(errno.EAGAIN, "no process reads it")
            self._reason = "it is not read fast enough"
            self._report()
        return os.write(self._fd, data)

    def _report(self, now: bool = False) -> None:
        """Report the number of lost lines, at most once in REPORT_S."""
        lost = self._lost()
        count, at = lost - self._reported_lost, time.monotonic()
        if count and (now or at >= self._reported_at + REPORT_S):
            reason = self._reason or "more than memory has room for"
            self._say(logging.ERROR, f"{self._name}: {count} line{'s' if count > 1 else ''} lost: {reason}")
            self._reported_lost, self._reported_at, self._reason = lost, at, ""


def check_writable(path: str) -> None:
    """Raise OSError if an access log cannot be written to `path`. Does not open a pipe, whose reader would notice."""
    if path and not is_pipe(path):
        os.close(open_log(path))


def open_log(path: str) -> int:
    """A descriptor that appends to a file, which is created with its folder; standard output for an empty path.

    Raises OSError. Blocks no longer than the file system does, because a pipe is opened even without a reader.
    """
    if not path:
        return os.dup(1)
    with contextlib.suppress(FileExistsError):  # if it is not a folder, opening the file reports that
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    flags = os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
    try:
        # For reading, too: to look at the end of the last line, and so that a pipe opens without a reader.
        return os.open(path, os.O_RDWR | flags, 0o644)
    except OSError as error:
        if error.errno == errno.EISDIR:
            raise
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | flags, 0o644)


def _ends_whole(fd: int) -> bool:
    """Whether the last line of a file has its line end, or cannot be read."""
    try:
        size = os.fstat(fd).st_size
        return size == 0 or os.pread(fd, 1, size - 1) == b"\n"
    except OSError:
        return True


def _is_ready(fd: int) -> bool:
    """Whether a descriptor that is no file takes a piece without blocking; waits briefly for that."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(200))
