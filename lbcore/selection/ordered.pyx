"""The base class of selectors that pick in a fixed order, whatever the request. No I/O.

The order is computed when weights change, so that a pick is one load from memory, if its period, the sum of the weights divided by
their greatest common divisor, is at most 262,144. A longer order is computed pick by pick, and is Tijdeman's. After a change the new
order starts at a random position, so that the probability of each server is its share, and changes before every pick favour no server.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lbcore.selection.chairman cimport int128, schedule, upcoming_begin, upcoming_free, upcoming_next
from lbcore.selection.cycle cimport cycle_free, cycle_next
from lbcore.selection.mix cimport mix64
from lbcore.selection.rng cimport random_next
from lbcore.selection.algorithm cimport Algorithm


cdef class Ordered(Algorithm):
    """The base class of selectors that pick in a fixed order. A subclass implements `build_cycle`."""

    def __cinit__(self, *arguments, **named):
        self.stateful = True

    def __dealloc__(self):
        cycle_free(&self.cycle)
        upcoming_free(&self.upcoming)

    cdef int build_cycle(self) except -1:
        """Compute `cycle` from `open`. Returns 0, or 1 if its period would be above CYCLE_LIMIT."""
        return 1

    cdef int prepare(self) except -1:
        cdef bint first = self.cycle.period == 0 and self.upcoming.period == 0
        cdef uint64_t at = mix64(self.seed) if first else random_next(&self.random) >> 1
        if self.build_cycle():
            cycle_free(&self.cycle)
            upcoming_begin(&self.upcoming, self.open, self.count)
            return self.go_to(<int64_t>(at % <uint64_t>self.upcoming.period))
        upcoming_free(&self.upcoming)
        if self.cycle.period:
            self.position = <uint32_t>(at % <uint64_t>self.cycle.period)
        return 0

    cdef int go_to(self, int64_t step) except -1:
        """Continue from a step of the period, with the picks so far apportioned by largest remainder. O(servers log servers)."""
        cdef Upcoming* upcoming = &self.upcoming
        cdef Py_ssize_t i
        cdef int64_t left = step
        cdef int128 share
        cdef list remainders = []
        for i in range(self.count):
            share = <int128>step * upcoming.weights[i]
            upcoming.picked[i] = <int64_t>(share // upcoming.period)
            left -= upcoming.picked[i]
            remainders.append((<int64_t>-(share % upcoming.period), i))
        remainders.sort()
        for _, number in remainders[:left]:
            upcoming.picked[<Py_ssize_t>number] += 1
        upcoming.step = step
        return self.reschedule()

    cdef int reschedule(self) except -1:
        """Rebuild the heaps of `upcoming` from `step` and `picked`."""
        cdef Upcoming* upcoming = &self.upcoming
        cdef Py_ssize_t i
        upcoming.n_ready = upcoming.n_later = 0
        for i in range(self.count):
            if upcoming.picked[i] < upcoming.weights[i]:
                schedule(upcoming, <uint32_t>i)
        return 0

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        """The next server in the order. Barred servers lose their turn, which keeps the shares of the others."""
        cdef Py_ssize_t i, index
        cdef int64_t steps = self.cycle.period
        if self.cycle.period == 0:
            steps = self.upcoming.period
        if barred == NULL:
            if self.cycle.period:
                return cycle_next(&self.cycle, &self.position)
            return upcoming_next(&self.upcoming)
        for i in range(min(steps, <int64_t>(1 << 20))):
            index = cycle_next(&self.cycle, &self.position) if self.cycle.period else upcoming_next(&self.upcoming)
            if not barred[index]:
                return index
        # The servers that are not barred have less than a millionth of the weight.
        for i in range(self.count):
            if self.open[i] and not barred[i]:
                return i
        return -1

    cdef dict extra_state(self):
        if self.upcoming.period:
            return {"position": self.upcoming.step, "picked": [self.upcoming.picked[i] for i in range(self.count)]}
        return {"position": self.position}

    cdef int restore_extra(self, dict state) except -1:
        cdef Py_ssize_t i
        if self.upcoming.period:
            self.upcoming.step = state["position"]
            for i in range(self.count):
                self.upcoming.picked[i] = state["picked"][i]
            self.reschedule()
        elif self.cycle.period:
            self.position = <uint32_t>(<uint64_t>state["position"] % <uint64_t>self.cycle.period)
        return 0
