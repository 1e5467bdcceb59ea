"""Writes the access log of all workers in the order of time, on a thread of one; no request waits for a disk."""

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

STANDBY_S = 0.25  # how often a worker looks whether the one that writes is gone
STOP_S = 2.0  # how long `close` waits until what there is has been written
REPORT_S = 60.0  # one line about lost lines at most in this time
RETRY_S = 1.0  # between two tries to open the file anew
PIECE_BYTES = 4096  # a pipe that is ready takes as much without blocking

Say = Callable[[int, str], None]


class Lines(Protocol):
    """Where the lines come from: `observability.ring.LineReader`."""

    def merge(self, until_ns: int) -> bytes:
        """Whole lines that ended up to then, oldest first; empty when there are no more."""

    def release(self) -> None:
        """What was given last is written, or lost."""

    def note_lost(self, lines: int) -> None:
        """Count lines that could not be written."""


class LogWriter:
    """Appends to a file, or to standard output. One of all the writers that share `lock_fd` does, the others stand by.

    path        empty: standard output.
    lock_fd     a file that all share; the one that holds its lock writes; the lock goes with its process.
    pending     how many bytes of this worker are not written yet.
    lost        how many lines of all workers were lost so far.
    interval_s  how long a line waits, so that older ones of other workers come before it.
    say         takes a log level and a text; called on the thread.
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
        self._is_torn = False  # the last line of the file has no end
        self._reported_lost = 0
        self._reported_at = -REPORT_S
        self._reason = ""  # why lines were lost since the last report
        self._reopen = threading.Event()
        self._retry_at = 0.0
        self._stop = threading.Event()
        self._stopped_at = 0.0
        self._leads = self._lead()
        self._thread = threading.Thread(target=self._run, name="lbcore access log", daemon=True)
        self._thread.start()

    def reopen(self) -> None:
        """Open the file anew, after what was handed over so far: it was moved aside."""
        self._reopen.set()

    def close(self) -> None:
        """Write what there is, or leave it to the worker that writes, and end."""
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
        """Become the one that writes, if there is none."""
        try:
            fcntl.lockf(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        self._reopen.clear()
        self._open()
        return True

    def _open(self) -> bool:
        """Open the file, anew or for the first time. What was open stays when that fails."""
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
        """The file was moved aside: all that was told before goes there."""
        if time.monotonic() < self._retry_at:
            return
        self._reopen.clear()
        if not self._retry_at:
            self._drain(time.monotonic_ns())
        self._open()

    def _drain(self, until_ns: int) -> None:
        """Write the lines that ended up to then."""
        with contextlib.suppress(MemoryError):  # they are tried again
            while block := self._lines.merge(until_ns):
                self._write(block)
                self._lines.release()

    def _write(self, block: bytes) -> None:
        """Write whole lines. Those that cannot be written are counted; the next ones begin on a line of their own."""
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
        """Write what the file takes. Raises OSError."""
        while not self._is_regular and not _is_ready(self._fd):
            if self._stop.is_set() and time.monotonic() > self._stopped_at + STOP_S / 2:
                raise OSError(errno.EAGAIN, "no process reads it")
            self._reason = "it is not read fast enough"
            self._report()
        return os.write(self._fd, data)

    def _report(self, now: bool = False) -> None:
        """Say once in a while how many lines were lost."""
        lost = self._lost()
        count, at = lost - self._reported_lost, time.monotonic()
        if count and (now or at >= self._reported_at + REPORT_S):
            reason = self._reason or "more than memory has room for"
            self._say(logging.ERROR, f"{self._name}: {count} line{'s' if count > 1 else ''} lost: {reason}")
            self._reported_lost, self._reported_at, self._reason = lost, at, ""


def check_writable(path: str) -> None:
    """Raise OSError when an access log cannot be written there. No pipe is opened for that: its reader would notice."""
    if path and not _is_pipe(path):
        os.close(open_log(path))


def open_log(path: str) -> int:
    """A descriptor that appends to a file, which is made with its folder; standard output for an empty path.

    Raises OSError.

    Blocks no longer than the file system does: a pipe is opened without a reader, too.
    """
    if not path:
        return os.dup(1)
    with contextlib.suppress(FileExistsError):  # what is no folder is told by opening
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    flags = os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
    try:
        # Read, too: for the end of the last line; and a pipe opens without a reader.
        return os.open(path, os.O_RDWR | flags, 0o644)
    except OSError as error:
        if error.errno == errno.EISDIR:
            raise
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | flags, 0o644)


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def _ends_whole(fd: int) -> bool:
    """Whether the last line of a file has its end, as far as one may look."""
    try:
        size = os.fstat(fd).st_size
        return size == 0 or os.pread(fd, 1, size - 1) == b"\n"
    except OSError:
        return True


def _is_ready(fd: int) -> bool:
    """Whether something that is no file takes a piece without blocking; waits a little for it."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(200))
