"""Earliest deadline first: weighted round robin with deadlines that are fractions, not floats. No I/O.

A server is due 1/w after its last pick, and the server that is due first is picked. Deadlines are whole rounds plus units of
2**-32 / w, compared by cross products of 128 bits, so that all periods are the same; floats drift, because five times 0.2 is not 1.
Source: C. L. Liu and J. W. Layland, Scheduling algorithms for multiprogramming, JACM 20 (1973), as used by Envoy, edf_scheduler.h,
which also has this order among equals and these picks in advance. Vector: weights 5, 1, 1 give a a a a b c a.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from lbcore.selection.rng cimport random_next
from lbcore.selection.algorithm cimport Algorithm
from lbcore.selection.wide cimport uint128

cdef enum:
    MOST_BEFOREHAND = 429496729    # bound of the picks in advance, as in Envoy
    BARRED_TURNS = 32              # turns taken before all servers are examined

cdef uint64_t PICK = <uint64_t>1 << 32


cdef void sift_down(Turn* heap, Py_ssize_t size, Py_ssize_t at) noexcept nogil:
    cdef Turn moved = heap[at]
    cdef Py_ssize_t down
    while True:
        down = 2 * at + 1
        if down >= size:
            break
        if down + 1 < size and turn_before(&heap[down + 1], &heap[down]):
            down += 1
        if not turn_before(&heap[down], &moved):
            break
        heap[at] = heap[down]
        at = down
    heap[at] = moved


cdef void turns_build(Turn* heap, Py_ssize_t size) noexcept nogil:
    """Make a heap of turns that are in any order. O(size)."""
    cdef Py_ssize_t at = size // 2
    while at > 0:
        at -= 1
        sift_down(heap, size, at)


cdef uint32_t turns_next(Turn* heap, Py_ssize_t size) noexcept nogil:
    """The index of the server that is due first; its next deadline is 1/w later. `size`: 1 or more. O(log size)."""
    cdef uint32_t index = heap[0].index
    turn_advance(heap, 1)
    sift_down(heap, size, 0)
    return index


@cython.final
cdef class EDF(Algorithm):
    """EDF(servers=(), *, seed=0)\n--\n\nWeighted round robin for any weights and frequent changes: at a change, a server keeps the rest of its wait.

    A pick is O(log n). A change costs O(n) before the next pick, and rounds waits to 2**-32 of a pick; a new server waits for
    a random part of its interval, a server that was down continues its wait. After W picks every server was picked exactly w
    times. Memory: 40 bytes per server. Less smooth than SmoothWRR: the picks of heavy servers are bunched.
    The seed, modulo 429,496,729, is the number of picks taken in advance, in O(n log n), so that many processes that start at
    once do not all begin with the same server.
    """

    def __init__(self, servers=(), *, seed: int = 0):
        self.setup(servers, seed)

    def __cinit__(self, *arguments, **named):
        self.stateful = True

    def __dealloc__(self):
        free(self.heap)
        free(self.waits)

    cdef uint64_t until(self, const Turn* turn) noexcept nogil:
        """The rest of a server's wait, in units of `Wait.units`."""
        cdef uint128 units = (<uint128>(turn.rounds - self.now.rounds) * turn.weight << 32) + turn.units
        cdef uint128 passed = 0
        if self.now.units:
            passed = <uint128>self.now.units * turn.weight // self.now.weight
        if units <= passed:
            return 0
        return <uint64_t>min(units - passed, <uint128>PICK)

    cdef void suspend(self) noexcept nogil:
        """Write the rest of each server's wait into `waits`."""
        cdef Py_ssize_t i
        for i in range(self.size):
            self.waits[self.heap[i].index].units = self.until(&self.heap[i])

    cdef int prepare(self) except -1:
        cdef bint first = self.n_waits == 0
        cdef Py_ssize_t i, old = 0
        cdef Wait* waits = <Wait*>malloc((self.count + 1) * sizeof(Wait))
        cdef Turn* heap = <Turn*>malloc((self.count + 1) * sizeof(Turn))
        if waits == NULL or heap == NULL:
            free(waits)
            free(heap)
            raise MemoryError
        self.suspend()
        for i in range(self.count):
            # Both are in the order of epochs.
            while old < self.n_waits and self.waits[old].epoch < self.epochs[i]:
                old += 1
            waits[i].epoch = self.epochs[i]
            if old < self.n_waits and self.waits[old].epoch == self.epochs[i]:
                waits[i].units = self.waits[old].units
            else:
                waits[i].units = PICK if first else (random_next(&self.random) >> 32) + 1
        free(self.waits)
        free(self.heap)
        self.waits = waits
        self.n_waits = self.count
        self.heap = heap
        self.size = 0
        self.now.rounds = self.now.units = 0
        self.now.weight = 1
        for i in range(self.count):
            if self.open[i]:
                heap[self.size].index = <uint32_t>i
                heap[self.size].weight = self.open[i]
                heap[self.size].rounds = waits[i].units // (<uint64_t>self.open[i] << 32)
                heap[self.size].units = waits[i].units % (<uint64_t>self.open[i] << 32)
                self.size += 1
        if first:
            self.begin()
        turns_build(self.heap, self.size)
        return 0

    cdef void begin(self) noexcept nogil:
        """Take the picks in advance: each server's share of them at once, and the remaining few one by one."""
        cdef uint64_t picks = self.seed % <uint64_t>MOST_BEFOREHAND, total = 0, share, left = picks
        cdef Py_ssize_t i
        if picks == 0 or self.size == 0:
            return
        for i in range(self.size):
            total += self.heap[i].weight
        for i in range(self.size):
            share = picks * self.heap[i].weight // total
            turn_advance(&self.heap[i], share)
            left -= share
        turns_build(self.heap, self.size)
        while left:
            self.now = self.heap[0]
            turns_next(self.heap, self.size)
            left -= 1

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        """The server that is due first. Barred servers lose their turn, which keeps the shares of the others."""
        cdef Py_ssize_t i
        cdef uint32_t index
        cdef Turn best
        cdef bint found = False
        if self.size == 0:
            return -1
        if barred == NULL:
            self.now = self.heap[0]
            return turns_next(self.heap, self.size)
        for i in range(BARRED_TURNS):
            self.now = self.heap[0]
            index = turns_next(self.heap, self.size)
            if not barred[index]:
                return index
        # The servers left may have little weight, so that many turns would pass: compute their effect at once.
        for i in range(self.size):
            if not barred[self.heap[i].index] and (not found or turn_before(&self.heap[i], &best)):
                best = self.heap[i]
                found = True
        if not found:
            return -1
        self.now = best
        for i in range(self.size):
            if barred[self.heap[i].index] and turn_before(&self.heap[i], &best):
                self.skip(&self.heap[i])
            elif self.heap[i].index == best.index:
                turn_advance(&self.heap[i], 1)
        turns_build(self.heap, self.size)
        return best.index

    cdef void skip(self, Turn* turn) noexcept nogil:
        """Make a server lose all its turns before `now`."""
        cdef uint128 ahead = (<uint128>(self.now.rounds - turn.rounds) * turn.weight << 32)
        cdef uint128 units = ahead + <uint128>self.now.units * turn.weight // self.now.weight
        if units > turn.units:
            turn_advance(turn, <uint64_t>((units - turn.units) >> 32))
        while turn_before(turn, &self.now):
            turn_advance(turn, 1)

    cdef dict extra_state(self):
        cdef Py_ssize_t i
        cdef list turns = [None] * self.count
        for i in range(self.size):
            turns[self.heap[i].index] = [self.heap[i].rounds, self.heap[i].units]
        return {
            "turns": turns,
            "waits": [self.waits[i].units for i in range(self.count)],
            "now": [self.now.rounds, self.now.units, self.now.weight],
        }

    cdef int restore_extra(self, dict state) except -1:
        cdef Py_ssize_t i
        for i in range(self.count):
            self.waits[i].units = state["waits"][i]
        for i in range(self.size):
            self.heap[i].rounds, self.heap[i].units = state["turns"][<Py_ssize_t>self.heap[i].index]
        self.now.rounds, self.now.units, self.now.weight = state["now"]
        turns_build(self.heap, self.size)
        return 0
