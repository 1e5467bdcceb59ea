"""Turns of challenges whose records share one place in the DNS."""

from __future__ import annotations

import threading
import time

from lbcore.acme.solving import Challenge, Stop

POLL_S = 0.5  # between two looks whether the process ends


class Turns:
    """Lets one challenge at a time have a record, of all orders of a resolver. `pause_s`: between two challenges."""

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._holder: Challenge | None = None
        self._free_at = 0.0

    def begin(self, challenge: Challenge, stop: Stop) -> None:
        """Wait for the turn of a challenge. Raises StoppedError."""
        while not self._lock.acquire(timeout=POLL_S):
            stop.check()
        self._holder = challenge
        stop.wait(self._free_at - time.monotonic())

    def end(self, challenge: Challenge) -> None:
        """End the turn of a challenge; does nothing if it has none."""
        if self._holder == challenge:
            self._holder = None
            self._free_at = time.monotonic() + self._pause_s
            self._lock.release()
