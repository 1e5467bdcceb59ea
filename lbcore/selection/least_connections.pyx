"""Least connections: the server with the fewest requests in flight for its weight. No I/O.

The least (in flight + 1) / weight, compared by cross products; an idle server comes first, whatever its weight, and equal servers
take turns. Source: HAProxy, lb_fwlc.c, has the same order. Vector: weights 2 and 1, every picked request kept in flight, give
a b a a a b a b a a a b.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.cost cimport COST_QUEUE
from lbcore.selection.drawn cimport Drawn
from lbcore.selection.least cimport LEAST_SAMPLE, least_of


cdef uint32_t checked_sample(object sample) except 0:
    """The number of servers to compare. Raises TypeError or ValueError."""
    if isinstance(sample, bool) or not isinstance(sample, int):
        raise TypeError(f"a sample has to be an int, not {sample!r}")
    if not 1 <= sample <= 1 << 24:
        raise ValueError(f"a sample has to be between 1 and {1 << 24} servers, not {sample}")
    return sample


@cython.final
cdef class LeastConnections(Drawn):
    """LeastConnections(servers=(), *, seed=0, sample=16)\n--\n\nThe server with the fewest requests under lease for its weight.

    sample  the number of servers to compare; if there are more, a random sample of this size is drawn for each pick.
    For requests of unequal duration, whose number says little. Only leases of this selector count.
    A pick is O(sample), and less if an idle server is found. A change costs O(n) before the next pick; counts are kept. Memory:
    4 bytes per server if some have no weight.
    """

    def __init__(self, servers=(), *, seed: int = 0, sample: int = LEAST_SAMPLE):
        self.sample = checked_sample(sample)
        self.by_weight = False
        self.setup(servers, seed)
        self.turn = self.seed & 0xFFFFFFFF

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        self.turn = self.turn + 1
        return least_of(&self.alias, self.open, self.load_at, barred, self.sample, self.turn - 1, &self.random, COST_QUEUE, 0, 0)

    cdef dict options(self):
        return {"sample": self.sample}

    cdef dict extra_state(self):
        return {"turn": self.turn}

    cdef int restore_extra(self, dict state) except -1:
        self.turn = state["turn"]
        return 0
