# gRPC's static stride scheduler: weighted round robin by one shared sequence number.

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from lbcore.selection.atomic cimport atomic_add_u64
from lbcore.selection.algorithm cimport Algorithm

cdef enum:
    STRIDE_MAX = 65535         # a server of this scaled weight is picked in every round
    STRIDE_OFFSET = 32767      # phase between neighbouring slots


cdef struct Stride:            # owns both arrays: `stride_build` allocates them, `stride_free` frees them
    uint16_t* weights          # by slot, scaled: the largest is STRIDE_MAX
    uint32_t* members          # slot -> server; NULL: every server has weight, slot n is server n
    uint32_t size              # number of slots, that is of servers with weight


cdef class StaticStride(Algorithm):
    cdef Stride stride
    cdef uint64_t sequence


cdef inline bint stride_takes(const Stride* stride, uint32_t slot, uint64_t turn) noexcept nogil:
    """Whether a slot is picked in a round. `turn`: the number of the round modulo STRIDE_MAX."""
    cdef uint64_t weight = stride.weights[slot]
    return (weight * turn + <uint64_t>slot * STRIDE_OFFSET) % STRIDE_MAX + weight >= STRIDE_MAX


cdef inline uint32_t stride_next(const Stride* stride, uint64_t* sequence) noexcept nogil:
    """The index of the next pick. `stride.size` must not be 0. Any number of threads and processes may share `sequence`."""
    cdef uint64_t at, turn
    cdef uint32_t slot = 0, tries
    # Without other threads one round is enough, because the largest weight is picked in each.
    for tries in range(4 * stride.size):
        at = atomic_add_u64(sequence, 1)
        if (at | stride.size) >> 32:
            turn = at // stride.size
            slot = <uint32_t>(at - turn * stride.size)
        else:
            # A division of half the width takes half the time.
            slot = <uint32_t>at % stride.size
            turn = <uint32_t>at // stride.size
        if stride_takes(stride, slot, turn % STRIDE_MAX):
            break
    return slot if stride.members == NULL else stride.members[slot]


cdef int stride_build(Stride* stride, const uint32_t* weights, Py_ssize_t count) except -1
cdef void stride_free(Stride* stride) noexcept nogil
