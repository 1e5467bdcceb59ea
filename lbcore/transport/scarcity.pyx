"""What is said when descriptors, ports or memory of this process have run out: one line a second, with how often it was.

A lack comes with every request that meets it; a line for each would fill the disk while the machine is in need already.
"""

import logging
import os
import time

PAUSE_S = 1.0

_log = logging.getLogger("lbcore.transport")

cdef dict said = {}            # what was lacking: when it was said last, and how often it was not said since


cdef void lack(str what, int error) noexcept:
    """Say that something failed with this errno, for a lack of ours."""
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
        _log.error("%s; and that cannot be told in full", what, exc_info=problem)
