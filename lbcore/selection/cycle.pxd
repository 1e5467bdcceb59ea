# A precomputed order of picks, position -> slot, so that a pick is one load from memory.

from libc.stdint cimport uint32_t
from libc.stdlib cimport free

cdef enum:
    CYCLE_LIMIT = 262144       # longest order kept, 1 MiB


cdef struct Cycle:
    uint32_t* order            # `period` slots, owned: `cycle_free` frees them; NULL when empty
    Py_ssize_t period          # sum of the weights divided by their greatest common divisor


cdef inline void cycle_free(Cycle* cycle) noexcept nogil:
    free(cycle.order)
    cycle.order = NULL
    cycle.period = 0


cdef inline uint32_t cycle_next(const Cycle* cycle, uint32_t* position) noexcept nogil:
    """The slot at a position, which moves to the next one. O(1). The cycle must not be empty."""
    cdef uint32_t slot = cycle.order[position[0]]
    position[0] += 1
    if position[0] == <uint32_t>cycle.period:
        position[0] = 0
    return slot


cdef inline uint32_t common_divisor(uint32_t a, uint32_t b) noexcept nogil:
    while b:
        a, b = b, a % b
    return a
