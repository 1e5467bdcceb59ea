# The base class of selectors that choose by latency.

from libc.stdint cimport uint64_t

from lbcore.selection.clock cimport coarse_ns, monotonic_ns
from lbcore.selection.drawn cimport Drawn
from lbcore.selection.sweep cimport Sweep


cdef class Timed(Drawn):
    cdef bint manual                   # the time was set by `set_time`
    cdef uint64_t manual_ns            # that time
    cdef Sweep sweep
    cdef bint slow                     # averages change little within milliseconds, so that a coarse clock is enough

    cdef int shift(self, uint64_t by_ns) except -1

    cdef inline uint64_t now_ns(self) noexcept nogil:
        return self.manual_ns if self.manual else monotonic_ns()

    cdef inline uint64_t about_ns(self) noexcept nogil:
        """The time for comparing averages: up to some ms late if `slow`, because reading the exact clock costs more than a pick."""
        if self.manual:
            return self.manual_ns
        return coarse_ns() if self.slow else monotonic_ns()


cdef uint64_t positive_ns(str name, object seconds) except? 0
cdef bint is_slow(object seconds)
