"""Core dumps: none of a process whose memory holds keys."""

from __future__ import annotations

import contextlib
import resource


def forbid_core_dumps() -> None:
    """Set the limit of core dumps to 0, of this process and of those that it starts. `prlimit` can raise it again."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
