# Selectors that go by how long servers take.

from libc.stdint cimport uint64_t

from lbcore.selection.clock cimport coarse_ns, monotonic_ns
from lbcore.selection.drawn cimport Drawn
from lbcore.selection.sweep cimport Sweep


cdef class Timed(Drawn):
    cdef bint told                     # the time is what `set_time` said
    cdef uint64_t told_ns
    cdef Sweep sweep
    cdef bint slow                     # what is compared changes little within milliseconds

    cdef int shift(self, uint64_t by_ns) except -1

    cdef inline uint64_t now_ns(self) noexcept nogil:
        return self.told_ns if self.told else monotonic_ns()

    cdef inline uint64_t about_ns(self) noexcept nogil:
        """The time, for comparing averages: may be some ms ago where these live for seconds. A pick costs less than the clock."""
        if self.told:
            return self.told_ns
        return coarse_ns() if self.slow else monotonic_ns()


cdef uint64_t positive_ns(str name, object seconds) except? 0
cdef bint is_slow(object seconds)
