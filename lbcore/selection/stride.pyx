"""Weighted round robin that threads can share without a lock: gRPC's static stride scheduler. No I/O.

Picks take numbers s = 0, 1, 2 ... from one counter. Number s stands for server i = s mod n in round g = s div n, which is picked if
(w*g + 32767*i) mod 65535 >= 65535 - w, with weights scaled so that the largest is 65535: a server of half that weight is
picked in every other round. Otherwise the pick takes the next number. Source: gRPC, A58 and static_stride_scheduler.cc.
Vector: weights 5, 1, 1 give a c a a b a a a c a a b a a.
"""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from lbcore.selection.atomic cimport atomic_add_u64, atomic_load_u64, atomic_store_u64
from lbcore.selection.mix cimport mix64
from lbcore.selection.algorithm cimport Algorithm
from lbcore.selection.wide cimport uint128

cdef enum:
    MAX_RATIO = 10             # weights above this many times the mean count as this many times the mean
    MIN_SHARE = 100            # weights below the mean divided by this count as that
    BARRED_ROUNDS = 8          # rounds before the first server that is not barred is picked


cdef int stride_build(Stride* stride, const uint32_t* weights, Py_ssize_t count) except -1:
    """Replace `stride` by the scaled weights of `count` servers; those of weight 0 get no slot. O(count). Raises MemoryError."""
    cdef uint64_t total = 0, largest = 0, mean, least
    cdef uint128 top, bottom, scaled
    cdef uint32_t n = 0
    cdef Py_ssize_t i
    cdef Stride built
    built.weights = NULL
    built.members = NULL
    for i in range(count):
        total += weights[i]
        n += weights[i] != 0
        if weights[i] > largest:
            largest = weights[i]
    built.size = n
    if n:
        built.weights = <uint16_t*>malloc(n * sizeof(uint16_t))
        if n < count:
            built.members = <uint32_t*>malloc(n * sizeof(uint32_t))
        if built.weights == NULL or (n < count and built.members == NULL):
            stride_free(&built)
            raise MemoryError
        # scaled = weight * top / bottom, to the nearest
        top = STRIDE_MAX
        bottom = largest
        if <uint128>largest * n > <uint128>total * MAX_RATIO:
            top = <uint128>STRIDE_MAX * n
            bottom = <uint128>total * MAX_RATIO
        mean = <uint64_t>((2 * total * top + bottom * n) // (2 * bottom * n))
        least = max((mean + MIN_SHARE // 2) // MIN_SHARE, <uint64_t>1)
        n = 0
        for i in range(count):
            if weights[i]:
                scaled = (2 * weights[i] * top + bottom) // (2 * bottom)
                built.weights[n] = <uint16_t>min(max(scaled, <uint128>least), <uint128>STRIDE_MAX)
                if built.members != NULL:
                    built.members[n] = <uint32_t>i
                n += 1
    stride_free(stride)
    stride[0] = built
    return 0


cdef void stride_free(Stride* stride) noexcept nogil:
    free(stride.weights)
    free(stride.members)
    stride.weights = NULL
    stride.members = NULL
    stride.size = 0


@cython.final
cdef class StaticStride(Algorithm):
    """StaticStride(servers=(), *, seed=0)\n--\n\nWeighted round robin by one atomic number: threads that pick at the same time do not wait for each other.

    A pick takes as many tries as the largest weight has means, 10 at most, so O(1) expected. A change costs O(n) before the next
    pick and keeps the number. Memory: 2 bytes per server. Shares are exact to 1/65535 of the largest within 65,535 rounds; less
    smooth than SmoothWRR. As in gRPC, weights above ten times the mean count as ten times the mean, and weights below a hundredth
    of the mean as a hundredth. The seed decides where the sequence begins.
    """

    def __cinit__(self, *arguments, **named):
        # `pick_many` may run beside other picks, because only the atomic number changes.
        self.stateful = False

    def __init__(self, servers=(), *, seed: int = 0):
        self.setup(servers, seed)
        self.sequence = mix64(self.seed) >> 33

    def __dealloc__(self):
        stride_free(&self.stride)

    cdef int prepare(self) except -1:
        return stride_build(&self.stride, self.open, self.count)

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        """The next server in the sequence. Barred servers lose their turn, which keeps the shares of the others."""
        cdef uint32_t index, i
        if self.stride.size == 0:
            return -1
        if barred == NULL:
            return stride_next(&self.stride, &self.sequence)
        for i in range(BARRED_ROUNDS * self.stride.size):
            index = stride_next(&self.stride, &self.sequence)
            if not barred[index]:
                return index
        for i in range(self.stride.size):
            index = i if self.stride.members == NULL else self.stride.members[i]
            if not barred[index]:
                return index
        return -1

    cdef int choose_many(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        """Takes numbers in blocks of as many as picks are missing, so that no number is left unused."""
        cdef uint64_t at, turn, end
        cdef uint32_t slot, size = self.stride.size
        cdef Py_ssize_t done = 0
        if size == 0:
            return -1 if n else 0
        while done < n:
            end = n - done
            at = atomic_add_u64(&self.sequence, end)
            end += at
            slot = <uint32_t>(at % size)
            turn = (at // size) % STRIDE_MAX
            while at < end:
                if stride_takes(&self.stride, slot, turn):
                    out[done] = slot if self.stride.members == NULL else self.stride.members[slot]
                    done += 1
                at += 1
                slot += 1
                if slot == size:
                    slot = 0
                    turn += 1
                    if turn == STRIDE_MAX:
                        turn = 0
        return 0

    cdef dict extra_state(self):
        return {"sequence": atomic_load_u64(&self.sequence)}

    cdef int restore_extra(self, dict state) except -1:
        atomic_store_u64(&self.sequence, state["sequence"])
        return 0
