"""Least time: the server that will probably answer first. No I/O.

The least average latency * (in flight + 1) / weight. A sample moves the average by an eighth, or by 1 - exp(-t/keep) if that is
more, where t is the time since the previous sample. After a time of `keep` without samples, the average decays with exp(1 - t/keep),
so that a slow server gets another chance; and every server is picked at least once in ten seconds if there are enough picks (see
sweep.pxd). Source: nginx, `least_time` with `inflight`, and Traefik, `leasttime`, have this product; but there averages do not decay,
and in Traefik a server that only fails has no latency and attracts all requests. Vector: averages of 0.1 s and 0.2 s, every picked
request kept in flight: a b a a a b a b a a a b.
"""

cimport cython
from libc.stdint cimport uint8_t, uint64_t

from lbcore.selection.atomic cimport atomic_load_u64
from lbcore.selection.cost cimport COST_LATENCY, decay_rate, failure_ns, note_mean
from lbcore.selection.least cimport LEAST_SAMPLE, least_of
from lbcore.selection.least_connections cimport checked_sample
from lbcore.selection.sweep cimport sweep_next
from lbcore.selection.timed cimport Timed, is_slow, positive_ns


@cython.final
cdef class LeastTime(Timed):
    """LeastTime(servers=(), *, seed=0, keep_s=10.0, failure_s=1.0, sample=16)\n--\n\nThe server with the least product of average latency and requests under lease for its weight.

    keep_s     the age at which an average starts to decay; well above the time between two requests to a server.
    failure_s  the least latency that a failed request counts as. Repeated failures count more and more, so that a server that
               fails fast does not look fast.
    sample     the number of servers to compare; if there are more, a random sample of this size is drawn for each pick.
    A server without samples gets one request at a time while others have samples. Latencies come from leases and from `report`. A
    pick is O(sample). A change costs O(n) before the next pick; averages are kept. Memory: 4 bytes per server if some have no weight.
    """

    def __init__(self, servers=(), *, seed: int = 0, keep_s: float = 10.0, failure_s: float = 1.0, sample: int = LEAST_SAMPLE):
        self.rate = decay_rate(positive_ns("keep_s", keep_s))
        self.failure_least_ns = positive_ns("failure_s", failure_s)
        self.sample = checked_sample(sample)
        self.keep_s = keep_s
        self.slow = is_slow(keep_s)
        self.failure_s = failure_s
        self.by_weight = False
        self.setup(servers, seed)
        self.turn = self.seed & 0xFFFFFFFF

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        cdef uint64_t now = self.about_ns()
        cdef Py_ssize_t due = sweep_next(&self.sweep, &self.alias, self.load_at, barred, now)
        if due >= 0:
            return due
        self.turn = self.turn + 1
        return least_of(&self.alias, self.open, self.load_at, barred, self.sample, self.turn - 1, &self.random, COST_LATENCY,
                        now, self.rate)

    cdef void note_end(self, Py_ssize_t index, uint64_t latency_ns, bint ok, uint64_t now_ns) noexcept nogil:
        if not ok:
            latency_ns = failure_ns(&self.loads[index], latency_ns, self.failure_least_ns)
        if latency_ns:
            note_mean(&self.loads[index], latency_ns, self.now_ns(), self.rate)

    @cython.critical_section
    def latency_s(self, server) -> float | None:
        """The average of a server, in seconds; None before the first sample. Raises KeyError."""
        cdef uint64_t found = atomic_load_u64(&self.loads[self.find(server)].latency_ewma_ns)
        return found * 1e-9 if found else None

    cdef dict options(self):
        return {"keep_s": self.keep_s, "failure_s": self.failure_s, "sample": self.sample}

    cdef dict extra_state(self):
        return {**Timed.extra_state(self), "turn": self.turn}

    cdef int restore_extra(self, dict state) except -1:
        self.turn = state["turn"]
        return Timed.restore_extra(self, state)
