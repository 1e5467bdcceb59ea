"""The power of two choices: of two servers drawn at random, the one with fewer requests in flight. No I/O.

Two different servers are drawn by weight; the second is picked if its requests in flight, divided by its weight, are fewer than
those of the first. Source: M. Mitzenmacher, The power of two choices in randomized load balancing, IEEE Trans. Parallel and
Distributed Systems 12 (2001): the longest queue grows with log log n instead of log n / log log n. Vector: 16 servers, every
picked request kept in flight, seed 0: after 1,600 picks the busiest server has 101, with `RandomWeighted` 111.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.ahead cimport AHEAD_FROM, AHEAD_FROM_BARE, AheadPair, ahead_next
from lbcore.selection.cost cimport COST_WAITING
from lbcore.selection.drawn cimport Drawn
from lbcore.selection.pair cimport pair_better, pair_of, pair_of_but, pairs_of


@cython.final
cdef class P2C(Drawn):
    """P2C(servers=(), *, seed=0)\n--\n\nOf two different servers drawn by weight, the one with fewer requests under lease for its weight.

    Nearly as even as a comparison of all servers, at the cost of two; and many processes that pick independently do not all choose
    the same idle server. The busier of the two is never picked. A pick is O(1). A change costs O(n) before the next pick; counts
    are kept. Memory: 8 bytes per server, none if all weights are equal.
    """

    def __init__(self, servers=(), *, seed: int = 0):
        self.setup(servers, seed)

    def __cinit__(self, *arguments, **named):
        self.by_pairs = True

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        cdef AheadPair* pair
        if barred != NULL:
            return pair_of_but(&self.alias, self.open, self.load_at, barred, &self.random, COST_WAITING, 0, 0)
        if self.alias.size == 0:
            return -1
        if self.alias.size >= (AHEAD_FROM_BARE if self.at_work else AHEAD_FROM):
            pair = ahead_next(&self.ahead, &self.alias, &self.random, self.at_work == 0)
            return pair_better(self.open, &self.loads[pair.first], &self.loads[pair.second], pair.first, pair.second, COST_WAITING,
                               0, 0)
        return pair_of(&self.alias, self.open, self.load_at, &self.random, COST_WAITING, 0, 0)

    cdef int choose_many(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        if self.alias.size == 0:
            return -1 if n else 0
        pairs_of(&self.alias, self.open, self.loads, &self.random, COST_WAITING, 0, 0, out, n)
        return 0
