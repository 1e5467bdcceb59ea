"""The log of lacking descriptors, ports or memory of this process: one line a second, with the number of times.

A lack affects every request; a line for each would fill the disk of a machine that is short of resources already.
"""

import logging
import os
import time

PAUSE_S = 1.0

_log = logging.getLogger("lbcore.transport")

cdef dict said = {}            # what was lacking -> the time of the last line, and the number of times since


cdef void lack(str what, int error) noexcept:
    """Log that something failed with this errno, because this process lacks a resource."""
    cdef double now
    try:
        now = time.monotonic()
        at, withheld = said.get((what, error), (0.0, 0))
        if at and now - at < PAUSE_S:
            said[(what, error)] = (at, withheld + 1)
            return
        said[(what, error)] = (now, 0)
        _log.error("%s: %s%s", what, os.strerror(error), f" ({withheld} times more since the last line)" if withheld else "")
    except Exception as problem:
        _log.error("%s; and the details cannot be logged", what, exc_info=problem)
