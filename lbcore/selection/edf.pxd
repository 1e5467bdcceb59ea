# Earliest deadline first: weighted round robin with exact deadlines.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.selection.algorithm cimport Algorithm
from lbcore.selection.wide cimport uint128

cdef struct Turn:              # the next pick of a server is due at rounds + units / (weight << 32), in virtual time
    uint64_t rounds
    uint64_t units             # below weight << 32
    uint32_t weight
    uint32_t index


cdef struct Wait:              # the rest of a server's wait, which survives changes
    uint64_t epoch             # see Algorithm.epochs
    uint64_t units             # in picks of this server, times 2**32; 1 << 32 at most


cdef inline bint turn_before(const Turn* a, const Turn* b) noexcept nogil:
    """Whether a comes before b: by deadline, then the server that has waited longer, then the one that was added first."""
    cdef uint128 left, right
    if a.rounds != b.rounds:
        return a.rounds < b.rounds
    if a.weight == b.weight:
        if a.units != b.units:
            return a.units < b.units
        return a.index < b.index
    left = <uint128>a.units * b.weight
    right = <uint128>b.units * a.weight
    return a.weight < b.weight if left == right else left < right


cdef inline void turn_advance(Turn* turn, uint64_t picks) noexcept nogil:
    """Postpone a deadline by a number of picks."""
    turn.rounds += picks // turn.weight
    turn.units += (picks % turn.weight) << 32
    if turn.units >= <uint64_t>turn.weight << 32:
        turn.units -= <uint64_t>turn.weight << 32
        turn.rounds += 1


cdef void turns_build(Turn* heap, Py_ssize_t size) noexcept nogil
cdef uint32_t turns_next(Turn* heap, Py_ssize_t size) noexcept nogil


cdef class EDF(Algorithm):
    cdef Turn* heap                    # owned; the servers that may be picked
    cdef Py_ssize_t size               # items of `heap`
    cdef Wait* waits                   # owned; by index, as of the last change
    cdef Py_ssize_t n_waits            # items of `waits`
    cdef Turn now                      # the turn of the last pick: the present virtual time

    cdef void suspend(self) noexcept nogil
    cdef uint64_t until(self, const Turn* turn) noexcept nogil
    cdef void begin(self) noexcept nogil
    cdef void skip(self, Turn* turn) noexcept nogil
