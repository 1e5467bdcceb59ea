"""Values of command-line options that several benchmarks have."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """A whole number above 0, as `type` of an option of argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
