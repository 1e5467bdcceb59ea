"""Strategies: the choice among the members of a balancer. No I/O, no lock, no allocation in `pick`."""

import os

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from lbcore.routing.asker cimport Asker
from lbcore.routing.hash_key cimport HashKey
from lbcore.selection.alias cimport Alias, alias_build, alias_free
from lbcore.selection.atomic cimport atomic_add_u64, atomic_load_u64
from lbcore.selection.chairman cimport chairman_build
from lbcore.selection.clock cimport coarse_ns
from lbcore.selection.consistent cimport places_build, places_find, places_free
from lbcore.selection.cost cimport COST_LATENCY, COST_PEAK, COST_QUEUE, COST_WAITING, decay_rate, note_mean, note_peak
from lbcore.selection.cycle cimport CYCLE_LIMIT, Cycle, cycle_free
from lbcore.selection.hrw cimport hrw_find
from lbcore.selection.least cimport LEAST_SAMPLE, least_of
from lbcore.selection.load cimport Load
from lbcore.selection.mix cimport hash_bytes, mix64
from lbcore.selection.pair cimport pair_of
from lbcore.selection.rng cimport random_seeded
from lbcore.selection.sweep cimport sweep_next
from lbcore.state.layout cimport ServerCell, ServiceCell

cdef enum:
    FEW = 64                   # up to this number of members, rendezvous hashing is used, which examines all of them
    CANDIDATES = 64            # members tried with a bounded load, before the bound is ignored

cdef uint64_t KEEP_RATE = decay_rate(<uint64_t>10 * 1000000000)     # of averages: tau is 10 s
cdef dict KINDS = {"p2c": COST_WAITING, "leastconn": COST_QUEUE, "leasttime": COST_LATENCY, "peakewma": COST_PEAK}


cdef int build_cycle(Cycle* cycle, const uint32_t* weights, Py_ssize_t count) except -1:
    """Build the order over members 0..count-1; weights whose period is too long are scaled down. Raises MemoryError."""
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
    """Scale weights to fit a cycle, rounding to the nearest: shares are off by less than one pick in CYCLE_LIMIT."""
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


cdef inline uint64_t turn(ServiceCell* cell, bint further) noexcept:
    """The number of a pick. Further attempts have numbers of their own: where one server of two is slow or down, each request that
    began there would have the next one begin there, too."""
    return atomic_add_u64(&cell.further if further else &cell.sequence, 1)


cdef class Picker:
    """Immutable between two calls of `build`."""

    cdef int build(self, const uint32_t* weights, ServerCell** cells, Py_ssize_t count) except -1:
        """Take over the members that may be picked, those with a weight above 0. The arrays outlive the picker."""
        return 0

    cdef Py_ssize_t pick(self, ServiceCell* cell, Asker asker, int attempt, bint further) except -2:
        """The index of a member, or -1 if none may be picked.

        attempt  number of earlier picks for this one: their members were passed over.
        further  it is for a further attempt (`Decision.further`), and does not change what first ones get.
        """
        return -1

    cdef void note(self, Load* load, uint64_t latency_ns, uint64_t now_ns) noexcept:
        """Add a latency to a member's average."""
        note_mean(load, latency_ns, now_ns, KEEP_RATE)


@cython.final
cdef class RoundRobin(Picker):
    """`wrr`: in Tijdeman's order (see `selection.chairman`), its position shared by all workers. O(1)."""

    def __dealloc__(self):
        cycle_free(&self.cycle)

    cdef int build(self, const uint32_t* weights, ServerCell** cells, Py_ssize_t count) except -1:
        return build_cycle(&self.cycle, weights, count)

    cdef Py_ssize_t pick(self, ServiceCell* cell, Asker asker, int attempt, bint further) except -2:
        if self.cycle.period == 0:
            return -1
        return self.cycle.order[turn(cell, further) % <uint64_t>self.cycle.period]


@cython.final
cdef class LeastOf(Picker):
    """The best of some members: `p2c` and `peakewma` compare two different ones drawn by weight, `leastconn` and `leasttime` all
    of them, or 16 if there are more. Strategies by latency pick every member at least once in ten seconds if there are enough
    requests. O(members compared). See `selection.P2C`, `PeakEWMA`, `LeastConnections`, `LeastTime`.
    """

    def __cinit__(self, str strategy):
        self.kind = KINDS[strategy]
        self.random = random_seeded(int.from_bytes(os.urandom(8), "little"))

    def __dealloc__(self):
        alias_free(&self.alias)
        free(self.weights)
        free(self.loads)

    cdef int build(self, const uint32_t* weights, ServerCell** cells, Py_ssize_t count) except -1:
        cdef Py_ssize_t i
        if self.weights == NULL:
            self.weights = <uint32_t*>malloc((count + 1) * sizeof(uint32_t))
            self.loads = <Load**>malloc((count + 1) * sizeof(Load*))
            if self.weights == NULL or self.loads == NULL:
                raise MemoryError
        memcpy(self.weights, weights, count * sizeof(uint32_t))
        for i in range(count):
            self.loads[i] = &cells[i].load
        alias_build(&self.alias, self.weights, count, self.kind == COST_WAITING or self.kind == COST_PEAK)
        return 0

    cdef Py_ssize_t pick(self, ServiceCell* cell, Asker asker, int attempt, bint further) except -2:
        cdef Alias* alias = &self.alias
        cdef uint64_t now
        cdef Py_ssize_t due
        if alias.size == 0:
            return -1
        if self.kind == COST_WAITING:
            return pair_of(alias, self.weights, self.loads, &self.random, COST_WAITING, 0, 0)
        if self.kind == COST_QUEUE:
            return least_of(alias, self.weights, self.loads, NULL, LEAST_SAMPLE, turn(cell, further), &self.random,
                            COST_QUEUE, 0, 0)
        now = coarse_ns()
        if not further:
            due = sweep_next(&self.sweep, alias, self.loads, NULL, now)
            if due >= 0:
                return due
        if self.kind == COST_PEAK:
            return pair_of(alias, self.weights, self.loads, &self.random, COST_PEAK, now, KEEP_RATE)
        return least_of(alias, self.weights, self.loads, NULL, LEAST_SAMPLE, turn(cell, further), &self.random,
                        COST_LATENCY, now, KEEP_RATE)

    cdef void note(self, Load* load, uint64_t latency_ns, uint64_t now_ns) noexcept:
        if self.kind == COST_PEAK:
            note_peak(load, latency_ns, now_ns, KEEP_RATE)
        else:
            note_mean(load, latency_ns, now_ns, KEEP_RATE)


@cython.final
cdef class Consistent(Picker):
    """`hrw`, `sticky.sourceIP` and `hashOn`: the same key always goes to the same member.

    Up to FEW members by rendezvous hashing (`selection.hrw`), with which a change moves only the keys that it must; above by places
    (`selection.consistent`), in O(1) expected. A request without the key gets a random one. With `spread`, a member with more than
    this percentage of the average of exchanges in flight is passed over (Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with
    Bounded Loads, 2018).
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
        if self.count > FEW:
            places_build(&self.places, self.names, self.configured, self.count)

    def __dealloc__(self):
        places_free(&self.places)
        free(self.names)
        free(self.configured)

    cdef int build(self, const uint32_t* weights, ServerCell** cells, Py_ssize_t count) except -1:
        """A member that closes keeps its places, so that only its own keys move; new weights make new places."""
        cdef Py_ssize_t i
        cdef uint32_t first = 0
        cdef bint same = True
        self.cells = cells
        self.n_open = 0
        self.equal = True
        for i in range(count):
            self.open[i] = weights[i]
            self.n_open += weights[i] != 0
            first = first or weights[i]
            self.equal = self.equal and weights[i] in (0, first)
            if weights[i] and weights[i] != self.configured[i]:
                self.configured[i] = weights[i]
                same = False
        if not same and self.count > FEW:
            places_build(&self.places, self.names, self.configured, self.count)
        return 0

    cdef Py_ssize_t choice(self, uint64_t hash, Py_ssize_t before) noexcept:
        """The member of a key after `before` others; the last one if there are fewer."""
        cdef uint8_t barred[FEW]
        cdef Py_ssize_t i, found = -1, following
        if self.count > FEW:
            return places_find(&self.places, hash, self.open, self.count, before)
        if before == 0:
            return hrw_find(self.names, self.open, self.count, self.equal, hash, NULL, NULL)
        memset(barred, 0, FEW)
        for i in range(before + 1):
            following = hrw_find(self.names, self.open, self.count, self.equal, hash, barred, NULL)
            if following < 0:
                break
            found = following
            barred[found] = 1
        return found

    cdef Py_ssize_t pick(self, ServiceCell* cell, Asker asker, int attempt, bint further) except -2:
        cdef uint64_t hash, limit
        cdef Py_ssize_t i, found
        if not self.key.read(asker, &hash):
            hash = mix64(turn(cell, further))
        found = self.choice(hash, attempt)
        if self.spread == 0 or found < 0:
            return found
        limit = (atomic_load_u64(&cell.in_flight) + 1) * self.spread // (100 * <uint64_t>self.n_open) + 1
        for i in range(attempt, attempt + min(<Py_ssize_t>CANDIDATES, self.n_open)):
            found = self.choice(hash, i)
            if atomic_load_u64(&self.cells[found].load.in_flight) < limit:
                break
        return found
