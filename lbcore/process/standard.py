"""The standard descriptors of the process: all three are open, whatever has started it, and output ends no command."""

from __future__ import annotations

import io
import os
import sys


def say_what_can_be_said() -> None:
    """Have standard output replace what its encoding lacks: names are anyone's, and a terminal may be of Latin-1."""
    if isinstance(sys.stdout, io.TextIOWrapper) and "utf" not in sys.stdout.encoding.lower():
        sys.stdout.reconfigure(errors="replace")


def is_in_foreground() -> bool | None:
    """Whether standard error is a terminal whose keyboard is for this process, not for a shell that has started it.
    None: it is no terminal, or one that was closed."""
    try:
        return os.tcgetpgrp(2) == os.getpgrp()
    except OSError:
        return None


def lead_nowhere() -> None:
    """Have standard output lead to /dev/null, after it could not be written: Python flushes it once more at the end."""
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 1)


def fill() -> None:
    """Open /dev/null where 0, 1 or 2 is closed.

    Otherwise the next file or socket gets that number, and what is written to standard output or standard error goes
    to a log, a client or a server. To be called before anything else is opened.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    # Python leaves these out where they were closed when it started.
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
