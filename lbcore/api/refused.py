"""A change that the API does not make, and the answer to it. No I/O."""

from __future__ import annotations

from typing import Any


class RefusedError(Exception):
    """A change that is not made. `status`: of the answer; `needs_force`: it is made with `force`."""

    def __init__(self, status: int, message: str, needs_force: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.needs_force = needs_force


def text_of(error: RefusedError) -> dict[str, Any]:
    """The answer to a change that is not made."""
    return {"message": str(error), **({"needsForce": True} if error.needs_force else {})}
