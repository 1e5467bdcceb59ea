"""The process that checks passwords: a question at a time from standard input, its answer to standard output."""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import BinaryIO

from lbcore.native.slices import work_last
from lbcore.passwords.hashes import is_right
from lbcore.passwords.wire import QUESTION, RIGHT, WRONG


def read(source: BinaryIO, size: int) -> bytes:
    """So many bytes. Raises EOFError when the worker has gone."""
    data = source.read(size)
    if len(data) < size:
        raise EOFError
    return data


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Answer until the input ends."""
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            of_stored, of_password = QUESTION.unpack(read(source, QUESTION.size))
            stored, password = read(source, of_stored), read(source, of_password)
            target.write(RIGHT if is_right(stored, password) else WRONG)
            target.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end of the input is the end
    work_last()
    serve(sys.stdin.buffer, sys.stdout.buffer)
