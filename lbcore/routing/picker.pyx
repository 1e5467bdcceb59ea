"""Strategies: which of its members a balancer gives the next request. No I/O, no lock, no allocation in `pick`."""

import os

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from lbcore.http.request cimport Request
from lbcore.routing.hash_key cimport HashKey
from lbcore.selection.consistent cimport places_build, places_find, places_free
from lbcore.selection.chairman cimport chairman_build
from lbcore.selection.cycle cimport CYCLE_LIMIT, Cycle, cycle_free
from lbcore.selection.mix cimport hash_bytes, mix64
from lbcore.selection.atomic cimport atomic_add_u64, atomic_load_u64
from lbcore.state.layout cimport ServerCell, ServiceCell

cdef enum Score:
    SCORE_IN_FLIGHT            # exchanges not ended, per weight
    SCORE_LATENCY              # the time to first byte, times who waits already, per weight

cdef enum:
    SAMPLE = 16                # members compared where all of them would be too many
    DRAWS = 8                  # until another member than the first comes up
    CANDIDATES = 64            # of a bounded load, before the bound is let go

cdef double LATENCY_KEEP_NS = 10e9     # an average without samples for longer counts for less


cdef int build_cycle(Cycle* cycle, const uint32_t* weights, Py_ssize_t count) except -1:
    """The order over members 0..count-1; weights that are too large for one are scaled down."""
    cdef uint32_t* values
    if chairman_build(cycle, weights, count) == 0:
        return 0
    values = <uint32_t*>malloc((count + 1) * sizeof(uint32_t))
    if values == NULL:
        raise MemoryError
    try:
        memcpy(values, weights, count * sizeof(uint32_t))
        scale_down(values, count)
        chairman_build(cycle, values, count)
    finally:
        free(values)
    return 0


cdef void scale_down(uint32_t* weights, Py_ssize_t count) noexcept:
    """Make the sum fit a cycle, to the nearest: beyond CYCLE_LIMIT picks the shares are off by less than one in it."""
    cdef uint64_t total = 0, weight
    cdef Py_ssize_t i
    for i in range(count):
        total += weights[i]
    if total <= CYCLE_LIMIT:
        return
    for i in range(count):
        weight = weights[i]
        if weight:
            weights[i] = max(1, <uint32_t>(weight * (CYCLE_LIMIT - count) // total))


cdef class Picker:
    """Immutable between two calls of `build`."""

    cdef int build(self, const uint32_t* weights, ServerCell** cells, Py_ssize_t count) except -1:
        """Take over the members that may be picked: those of weight above 0. The arrays live as long as the picker."""
        return 0

    cdef Py_ssize_t pick(self, ServiceCell* cell, Request request, int attempt) except -2:
        """Which member, or -1 when none may be picked. `attempt` counts the picks made for the same request before."""
        return -1


@cython.final
cdef class RoundRobin(Picker):
    """`wrr`: in Tijdeman's order (see `selection.chairman`), its position shared by all workers. O(1)."""

    def __dealloc__(self):
        cycle_free(&self.cycle)

    cdef int build(self, const uint32_t* weights, ServerCell** cells, Py_ssize_t count) except -1:
        return build_cycle(&self.cycle, weights, count)

    cdef Py_ssize_t pick(self, ServiceCell* cell, Request request, int attempt) except -2:
        if self.cycle.period == 0:
            return -1
        return self.cycle.order[atomic_add_u64(&cell.sequence, 1) % <uint64_t>self.cycle.period]


@cython.final
cdef class LeastOf(Picker):
    """The best of some members drawn at random: O(members drawn), whatever their number.

    `p2c` (Mitzenmacher 1996) and `peakewma` compare two different ones drawn by weight; `leastconn` and `leasttime` all of
    them, or SAMPLE where there are more.
    """

    def __cinit__(self, str strategy):
        self.score = SCORE_LATENCY if strategy in ("leasttime", "peakewma") else SCORE_IN_FLIGHT
        self.by_weight = strategy in ("p2c", "peakewma")
        self.sample = 2 if self.by_weight else SAMPLE
        self.random = int.from_bytes(os.urandom(8), "little") | 1

    def __dealloc__(self):
        cycle_free(&self.cycle)
        free(self.open)

    cdef int build(self, const uint32_t* weights, ServerCell** cells, Py_ssize_t count) except -1:
        cdef Py_ssize_t i
        if self.open == NULL:
            self.open = <uint32_t*>calloc(2 * count + 1, sizeof(uint32_t))
            if self.open == NULL:
                raise MemoryError
            self.weights = self.open + count
        self.cells = cells
        self.count = count
        self.n_open = 0
        memcpy(self.weights, weights, count * sizeof(uint32_t))
        for i in range(count):
            if weights[i]:
                self.open[self.n_open] = <uint32_t>i
                self.n_open += 1
        if self.by_weight:
            build_cycle(&self.cycle, weights, count)
        return 0

    cdef uint64_t draw(self) noexcept:
        """xorshift64* (Vigna 2016)."""
        cdef uint64_t x = self.random
        x ^= x >> 12
        x ^= x << 25
        x ^= x >> 27
        self.random = x
        return (x * <uint64_t>0x2545F4914F6CDD1D) >> 16

    cdef double cost(self, uint32_t index, uint64_t now_ns) noexcept:
        """What it costs to wait for a member, in an arbitrary unit: lower is better."""
        cdef ServerCell* cell = self.cells[index]
        cdef double waiting = <double>atomic_load_u64(&cell.in_flight), latency, age
        if self.score == SCORE_IN_FLIGHT:
            # Members that nobody waits for are alike, whatever their weights.
            return (waiting + 1) / self.weights[index] if waiting and not self.by_weight else waiting / self.weights[index]
        latency = <double>atomic_load_u64(&cell.latency_ewma_ns)
        age = <double>(now_ns - atomic_load_u64(&cell.latency_at_ns)) / LATENCY_KEEP_NS
        # An old average counts for less, so that one that was slow is tried again.
        if age > 1:
            latency /= age
        return latency * (1 + waiting) / (1 if self.by_weight else self.weights[index])

    cdef Py_ssize_t pick(self, ServiceCell* cell, Request request, int attempt) except -2:
        cdef uint32_t best, other
        cdef uint64_t at, step, now_ns = 0
        cdef double cost, best_cost
        cdef Py_ssize_t i, n = self.n_open
        cdef timespec now
        if n == 0:
            return -1
        if n == 1:
            return self.open[0]
        if self.score == SCORE_LATENCY:
            clock_gettime(CLOCK_MONOTONIC, &now)
            now_ns = <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec
        if self.by_weight:
            best = self.cycle.order[self.draw() % <uint64_t>self.cycle.period]
            other = best
            for i in range(DRAWS):
                other = self.cycle.order[self.draw() % <uint64_t>self.cycle.period]
                if other != best:
                    break
            if other == best:
                at = self.draw() % <uint64_t>n
                other = self.open[at] if self.open[at] != best else self.open[(at + 1) % <uint64_t>n]
            return other if self.cost(other, now_ns) < self.cost(best, now_ns) else best
        # Ties go round: the place to begin moves on with every pick. Steps of an odd length over a large pool do not repeat.
        at = atomic_add_u64(&cell.sequence, 1)
        step = 1
        if n > self.sample:
            at = self.draw()
            step = (self.draw() % <uint64_t>(n // self.sample)) + 1
            n = self.sample
        at %= <uint64_t>self.n_open
        best = self.open[at]
        best_cost = self.cost(best, now_ns)
        for i in range(1, n):
            at += step
            if at >= <uint64_t>self.n_open:
                at -= self.n_open
            cost = self.cost(self.open[at], now_ns)
            if cost < best_cost:
                best, best_cost = self.open[at], cost
        return best


@cython.final
cdef class Consistent(Picker):
    """`hrw`, `sticky.sourceIP` and `hashOn`: the same key always goes to the same member (see `selection.consistent`).

    A request without the key goes where a random one would. With `spread`, a member that has more than that many per cent
    of the average of exchanges in flight is passed over (Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with
    Bounded Loads, 2018). O(1) expected.
    """

    def __cinit__(self, HashKey key, list keys, list weights, int spread=0):
        cdef Py_ssize_t i
        self.key = key
        self.spread = spread
        self.count = len(keys)
        self.names = <uint64_t*>calloc(self.count + 1, sizeof(uint64_t))
        self.configured = <uint32_t*>calloc(2 * self.count + 1, sizeof(uint32_t))
        if self.names == NULL or self.configured == NULL:
            raise MemoryError
        self.open = self.configured + self.count
        for i in range(self.count):
            text = (<str>keys[i]).encode()
            self.names[i] = hash_bytes(text, len(text), 0)
            self.configured[i] = weights[i]
        places_build(&self.places, self.names, self.configured, self.count)

    def __dealloc__(self):
        places_free(&self.places)
        free(self.names)
        free(self.configured)

    cdef int build(self, const uint32_t* weights, ServerCell** cells, Py_ssize_t count) except -1:
        """One that closes keeps its places, so only its own keys move; another weight makes other places."""
        cdef Py_ssize_t i
        cdef bint same = True
        self.cells = cells
        self.n_open = 0
        for i in range(count):
            self.open[i] = weights[i]
            self.n_open += weights[i] != 0
            if weights[i] and weights[i] != self.configured[i]:
                self.configured[i] = weights[i]
                same = False
        if not same:
            places_build(&self.places, self.names, self.configured, self.count)
        return 0

    cdef Py_ssize_t pick(self, ServiceCell* cell, Request request, int attempt) except -2:
        cdef uint64_t hash, limit
        cdef Py_ssize_t i, found
        if not self.key.read(request, &hash):
            hash = mix64(atomic_add_u64(&cell.sequence, 1))
        found = places_find(&self.places, hash, self.open, self.count, attempt)
        if self.spread == 0 or found < 0:
            return found
        limit = (atomic_load_u64(&cell.in_flight) + 1) * self.spread // (100 * <uint64_t>self.n_open) + 1
        for i in range(attempt, attempt + CANDIDATES):
            found = places_find(&self.places, hash, self.open, self.count, i)
            if atomic_load_u64(&self.cells[found].in_flight) < limit:
                break
        return found
