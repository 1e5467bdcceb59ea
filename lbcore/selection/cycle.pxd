# A precomputed round-robin order: position -> slot, so that a pick is one load.

from libc.stdint cimport uint32_t

cdef enum:
    CYCLE_LIMIT = 262144       # longest order kept, 1 MiB

cdef struct Cycle:
    uint32_t* order            # `period` slots; NULL when empty
    Py_ssize_t period          # sum of the weights divided by their greatest common divisor


cdef int cycle_build(Cycle* cycle, const uint32_t* slots, const uint32_t* weights, Py_ssize_t count) except -1
cdef void cycle_free(Cycle* cycle) noexcept nogil
