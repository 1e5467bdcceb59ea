"""Reading files that a configuration names. A pipe or a device there holds up nobody: it is refused.

Nor does a network mount that is dead, where `in_time` makes the calls.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from typing import NamedTuple, TypeVar

ANSWER_S = 5.0  # a file system that takes longer is taken for dead
MOST_DEAD = 32  # files of which threads wait at once
MOST_BYTES = 1 << 20  # of secrets, certificates and other small things

T = TypeVar("T")

_dead: set[str] = set()  # files of which a call has not returned in time
_dead_lock = threading.Lock()


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


def in_time(path: str, call: Callable[[], T]) -> T:
    """The result of a call that asks a file system about `path`, for code that may wait, as in a thread of its own.

    Raises what the call raises, and OSError if it has not returned after `ANSWER_S`. It goes on in a thread that keeps
    no process from ending; until it returns, other calls for the same file are refused at once, and calls for any file
    if `MOST_DEAD` do not answer.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)
        with _dead_lock:
            _dead.discard(path)

    with _dead_lock:
        is_dead = path in _dead or len(_dead) >= MOST_DEAD
    if not is_dead:
        thread = threading.Thread(target=work, name="file", daemon=True)
        thread.start()
        thread.join(ANSWER_S)
        with _dead_lock:
            if results:
                return results[0]
            if errors:
                raise errors[0]
            _dead.add(path)
    raise OSError(errno.ETIMEDOUT, "its file system does not answer", path)
