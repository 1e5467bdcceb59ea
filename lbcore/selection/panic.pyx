"""Panic threshold: when too few servers are up, ignore health. No I/O.

When less than `percent` of the weight is up, all servers are picked by weight, up or not: the few servers left would break under
the load of all, and a check that finds nearly all servers down is often wrong itself. Source: Envoy, panic threshold, whose default
is 50 %; Envoy counts hosts, lbcore counts weight. Vector: of four servers of weight 1 two are up: 50 %, no panic; one: panic.
"""

cimport cython
from libc.stdint cimport uint64_t

from lbcore.selection.algorithm cimport Algorithm
from lbcore.selection.wrapper cimport Wrapper


@cython.final
cdef class PanicThreshold(Wrapper):
    """PanicThreshold(selector, percent=50)\n--\n\nIgnore health while less than `percent` of the weight is up.

    selector  a selector, or a wrapper; servers that it excludes, as an ejection does, count as down.
    percent   0 to 100; 0 = never.
    A pick costs as much as the selector's, plus some ns. Servers of weight 0 are never picked.
    """

    def __init__(self, selector, percent: float = 50):
        if isinstance(percent, bool) or not isinstance(percent, (int, float)):
            raise TypeError(f"percent has to be a number, not {percent!r}")
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentage is between 0 and 100, not {percent!r}")
        self.percent = percent
        self.wrap(selector, None)

    cdef int reshape(self, Algorithm selector) except -1:
        cdef uint64_t total = 0, up = 0
        cdef Py_ssize_t i
        for i in range(selector.count):
            total += selector.weights[i]
            if selector.open[i]:
                up += selector.weights[i]
        self.panicking_now = 100.0 * up < self.percent * total
        if self.panicking_now:
            for i in range(selector.count):
                selector.open[i] = selector.weights[i]
        return 0

    @property
    def panicking(self) -> bool:
        """`Selector.panicking`."""
        self.ahead()
        return self.panicking_now

    cdef dict options(self):
        return {"percent": self.percent}
