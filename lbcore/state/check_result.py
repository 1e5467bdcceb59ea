"""What an active check of a server has found. No I/O."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckResult:
    """error   why it failed; empty if it did not.
    took_s  from the question to the answer, or to the end of patience.
    at_s    when it ended, by the monotonic clock.
    """

    error: str
    took_s: float
    at_s: float
