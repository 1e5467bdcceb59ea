"""The output of the log: a file, or standard error.

Neither a full disk nor a stopped reader delays lbcore: a line is written entirely, or it is lost. Lost lines are
counted, and reported in the log before the next line that can be written.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import stat
import time

from lbcore.config.regular import is_pipe

REPORT_S = 60.0  # between two messages on standard error about a log file that cannot be written
RETRY_S = 1.0  # between two attempts to reopen a file
READER_S = 0.2  # wait for a full pipe or terminal, before a line is lost
PIECE_BYTES = 4096  # a ready pipe accepts this much without blocking; source: pipe(7), PIPE_BUF


class LogFile(logging.Handler):
    """Appends to a file, which it creates with its folder, or to standard error if `path` is empty. Raises OSError.

    lost  lines that were lost.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.lost = 0
        self._unreported = 0  # lost lines that the log does not mention yet
        self._reason = ""
        self._is_torn = False  # the last line has no end
        self._is_stuck = False  # the last line was lost for a reader that does not read
        self._wants_reopening = False
        self._retry_at = 0.0
        self._complained_at = 0.0
        self._fd, self._is_regular = -1, False
        self._open()

    def reopen(self) -> None:
        """Open the file anew before the next line: it was moved away. While that fails, the old one is written."""
        self._wants_reopening = bool(self.path)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        if self._wants_reopening and time.monotonic() >= self._retry_at:
            self._open_again()
        if self._unreported:
            lines = f"{self._unreported} line{'s' if self._unreported > 1 else ''}"
            text = f"{self._about(f'{lines} of the log lost: {self._reason}')}\n{text}"
        self._write(text.encode("utf-8", "backslashreplace") + b"\n")

    def close(self) -> None:
        """Nothing more is written."""
        super().close()
        if self.path and self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _open(self) -> None:
        fd = 2
        if self.path:
            with contextlib.suppress(FileExistsError):  # if the path is not a folder, opening the file fails
                os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
            flags = os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
            # A pipe opens without a reader that way, too.
            flags |= os.O_RDWR if is_pipe(self.path) else os.O_WRONLY
            fd = os.open(self.path, flags, 0o644)
        if self.path and self._fd >= 0:
            os.close(self._fd)
        self._use(fd)

    def _use(self, fd: int) -> None:
        self._fd, self._is_torn = fd, False
        try:
            self._is_regular = stat.S_ISREG(os.fstat(fd).st_mode)
        except OSError:
            self._is_regular = False

    def _open_again(self) -> None:
        try:
            self._open()
        except OSError as error:
            if not self._retry_at:
                text = f"the log {self.path} cannot be opened anew: {error.strerror}; it is tried again"
                self._write(f"{self._about(text)}\n".encode())
            self._retry_at = time.monotonic() + RETRY_S
        else:
            self._wants_reopening, self._retry_at = False, 0.0

    def _write(self, data: bytes) -> None:
        """Write whole lines, the last of which is the one that is lost if that fails."""
        if self._is_torn:
            data = b"\n" + data
        done = 0
        try:
            while done < len(data):
                done += self._put(data[done:])
        except OSError as error:
            self._is_torn = self._is_torn if done == 0 else data[done - 1 : done] != b"\n"
            self._is_stuck = error.errno == errno.EAGAIN
            self._reason = "no process reads it" if self._is_stuck else error.strerror or str(error)
            self.lost += 1
            self._unreported += 1
            self._complain()
        else:
            self._is_torn = self._is_stuck = False
            self._unreported = 0

    def _put(self, data: bytes) -> int:
        if self._is_regular:
            return os.write(self._fd, data)
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        if not poll.poll(0 if self._is_stuck else 1000 * READER_S):
            raise BlockingIOError(errno.EAGAIN, "no process reads it")
        return os.write(self._fd, data[:PIECE_BYTES])

    def _about(self, text: str) -> str:
        """A line about the log itself."""
        record = logging.makeLogRecord(
            {"name": "lbcore.process", "levelno": logging.ERROR, "msg": "%s", "args": (text,)}
        )
        return self.format(record)

    def _complain(self) -> None:
        """Say on standard error that a file takes nothing; once in a while."""
        now = time.monotonic()
        if not self.path or (self._complained_at and now - self._complained_at < REPORT_S):
            return
        self._complained_at = now
        text = f"lbcore: the log {self.path} takes no lines ({self.lost} lost): {self._reason}\n"
        with contextlib.suppress(OSError):
            poll = select.poll()
            poll.register(2, select.POLLOUT)
            if poll.poll(0):
                os.write(2, text.encode("utf-8", "backslashreplace"))


def lines_lost() -> int:
    """Lines of the log of this process that were lost."""
    return sum(handler.lost for handler in logging.getLogger().handlers if isinstance(handler, LogFile))
