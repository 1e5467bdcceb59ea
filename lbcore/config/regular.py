"""Files that a configuration names. A pipe or a device among them holds up nobody who reads: it is refused."""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

MOST_BYTES = 1 << 20  # of secrets, certificates and other small things


class Content(NamedTuple):
    """What was read, and of what."""

    data: bytes
    status: os.stat_result


def read_regular(path: str | os.PathLike[str], most_bytes: int = MOST_BYTES) -> Content:
    """The first `most_bytes` of a file.

    Raises OSError, also for what is no regular file: that could block, or never end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is a pipe, a socket or a device", os.fspath(path))
        return Content(file.read(most_bytes), status)


def is_pipe(path: str) -> bool:
    """Whether a path is that of a named pipe."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False
