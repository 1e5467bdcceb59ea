"""Colours of text for a terminal. No I/O."""

from __future__ import annotations

import os
from typing import TextIO

RESET = "\x1b[0m"
BOLD, DIM, RED, GREEN, YELLOW, BLUE, CYAN = (f"\x1b[{code}m" for code in (1, 2, 31, 32, 33, 34, 36))


def is_wanted(output: TextIO) -> bool:
    """Whether text for an output is coloured: a terminal that knows how, unless NO_COLOR is set."""
    return output.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
