"""Peak EWMA: of two servers drawn at random, the one that will probably answer sooner. No I/O.

Cost = average latency * (in flight + 1). A sample above the average replaces it; a lower sample moves it by 1 - exp(-t/tau), where t
is the time since the previous sample. Without samples the average decays with exp(-t/tau), so that a slow server gets another chance;
and every server is picked at least once in ten seconds if there are enough picks (see sweep.pxd).
Source: Finagle, PeakEwma.scala; the draw is that of `P2C`. Vector: tau 10 s; samples of 0.1 s at 0 s, 0.5 s at 1 s and
0.1 s at 11 s give averages of 0.1, 0.5 and 0.1 + 0.4 / e = 0.247152 s.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.ahead cimport AHEAD_FROM, AHEAD_FROM_BARE, AheadPair, ahead_next
from lbcore.selection.atomic cimport atomic_load_u64
from lbcore.selection.cost cimport COST_PEAK, decay_rate, decayed, failure_ns, load_age, note_peak
from lbcore.selection.pair cimport pair_better, pair_of, pair_of_but, pairs_of
from lbcore.selection.sweep cimport sweep_next
from lbcore.selection.timed cimport Timed, is_slow, positive_ns


@cython.final
cdef class PeakEWMA(Timed):
    """PeakEWMA(servers=(), *, seed=0, decay_s=10.0, failure_s=1.0)\n--\n\nOf two different servers drawn by weight, the one with the lower product of latency and requests in flight.

    decay_s    tau, the time over which an average decays; well above the time between two requests to a server.
    failure_s  the least latency that a failed request counts as. Repeated failures count more and more, so that a server that
               fails fast does not look fast.
    The average follows a peak at once and decays slowly. A server without samples gets one request at a time while others have
    samples. Latencies come from leases and from `report`. A pick is O(1); a change costs O(n) before the next pick; averages are
    kept. Memory: 8 bytes per server, none if all weights are equal.
    """

    def __init__(self, servers=(), *, seed: int = 0, decay_s: float = 10.0, failure_s: float = 1.0):
        self.rate = decay_rate(positive_ns("decay_s", decay_s))
        self.failure_least_ns = positive_ns("failure_s", failure_s)
        self.decay_s = decay_s
        self.slow = is_slow(decay_s)
        self.failure_s = failure_s
        self.by_pairs = True
        self.setup(servers, seed)

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        cdef uint64_t now = self.about_ns()
        cdef AheadPair* pair
        cdef Py_ssize_t due = sweep_next(&self.sweep, &self.alias, self.load_at, barred, now)
        if due >= 0:
            return due
        if barred != NULL:
            return pair_of_but(&self.alias, self.open, self.load_at, barred, &self.random, COST_PEAK, now, self.rate)
        if self.alias.size == 0:
            return -1
        if self.alias.size >= (AHEAD_FROM_BARE if self.at_work else AHEAD_FROM):
            pair = ahead_next(&self.ahead, &self.alias, &self.random, self.at_work == 0)
            return pair_better(self.open, &self.loads[pair.first], &self.loads[pair.second], pair.first, pair.second, COST_PEAK,
                               now, self.rate)
        return pair_of(&self.alias, self.open, self.load_at, &self.random, COST_PEAK, now, self.rate)

    cdef int choose_many(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        cdef uint64_t now = self.about_ns()
        cdef Py_ssize_t due
        if self.alias.size == 0:
            return -1 if n else 0
        while n:
            due = sweep_next(&self.sweep, &self.alias, self.load_at, NULL, now)
            if due < 0:
                break
            out[0] = <uint32_t>due
            out += 1
            n -= 1
        pairs_of(&self.alias, self.open, self.loads, &self.random, COST_PEAK, now, self.rate, out, n)
        return 0

    cdef void note_end(self, Py_ssize_t index, uint64_t latency_ns, bint ok, uint64_t now_ns) noexcept nogil:
        if not ok:
            latency_ns = failure_ns(&self.loads[index], latency_ns, self.failure_least_ns)
        if latency_ns:
            note_peak(&self.loads[index], latency_ns, self.now_ns(), self.rate)

    @cython.critical_section
    def latency_s(self, server) -> float | None:
        """The average latency of a server, decayed until now, in seconds; None before the first sample. Raises KeyError."""
        cdef Py_ssize_t index = self.find(server)
        cdef uint64_t found = atomic_load_u64(&self.loads[index].latency_ewma_ns)
        if found == 0:
            return None
        return decayed(found, load_age(&self.loads[index], self.now_ns()), self.rate) * 1e-9

    cdef dict options(self):
        return {"decay_s": self.decay_s, "failure_s": self.failure_s}
