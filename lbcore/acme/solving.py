"""What an order and those who answer its challenges have in common: the challenges, and how an attempt ends. No I/O."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass


class OrderError(Exception):
    """An order failed. The text is for users.

    wait_s        the CA demands this pause.
    is_temporary  the names are not the cause: the CA cannot be reached, or is busy.
    code          the error type of the CA (RFC 8555, section 6.7).
    """

    def __init__(self, text: str, wait_s: float = 0.0, is_temporary: bool = False, code: str = "") -> None:
        super().__init__(text)
        self.wait_s = wait_s
        self.is_temporary = is_temporary
        self.code = code


class StoppedError(Exception):
    """The process ends."""


@dataclass(frozen=True)
class Challenge:
    """The proof of control over a name that a CA requests. `name` is without its wildcard."""

    kind: str
    name: str
    token: str
    authorization: str


class Solver:
    """Answers challenges of some kinds. Methods block.

    one_by_one  it can hold the answer to one challenge only: the CA must have validated it, and `clean` been called,
                before `present` gets the next.
    """

    kinds: tuple[str, ...] = ()
    one_by_one = False

    def present(self, challenges: Sequence[Challenge], stop: Stop) -> None:
        """Answer the challenges; the CA may validate once this returns. Raises OrderError.

        The caller calls `clean` in any case.
        """
        raise NotImplementedError

    def clean(self, challenges: Sequence[Challenge]) -> None:
        """Remove the answers. Never raises."""
        raise NotImplementedError


class Stop:
    """An event: the process ends."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Set the event; waits in other threads end."""
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Sleep for this time. Raises StoppedError once the event is set."""
        if self._event.wait(max(seconds, 0.0)):
            raise StoppedError

    def check(self) -> None:
        """Raise StoppedError if the event is set."""
        self.wait(0.0)
