"""Random picks in proportion to weights. No I/O.

Formula and source: see `lbcore.selection.alias`. Vector: weights 5, 1, 1 and seed 0 begin
c a a a a a a a a a a a a c.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.ahead cimport AHEAD_FROM, ahead_next
from lbcore.selection.alias cimport alias_draw, alias_draw_but
from lbcore.selection.drawn cimport Drawn


@cython.final
cdef class RandomWeighted(Drawn):
    """RandomWeighted(servers=(), *, seed=0)\n--\n\nIndependent random picks: the probability of each server is its share, whatever was picked before.

    Processes that pick independently need no common state and do not synchronise. Over k picks a share p is off by some
    sqrt(p * (1 - p) / k), where round robin is exact. A pick is O(1). A change costs O(n) before the next pick. Memory: 8 bytes
    per server, none if all weights are equal. The same seed gives the same picks.
    """

    def __init__(self, servers=(), *, seed: int = 0):
        self.setup(servers, seed)

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        if barred != NULL:
            return alias_draw_but(&self.alias, self.open, barred, -1, &self.random)
        if self.alias.size == 0:
            return -1
        if self.alias.size >= AHEAD_FROM and self.at_work == 0:
            return ahead_next(&self.ahead, &self.alias, &self.random, True).first
        return alias_draw(&self.alias, &self.random)

    cdef int choose_many(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        cdef Py_ssize_t i
        cdef uint64_t random = self.random
        if self.alias.size == 0:
            return -1 if n else 0
        for i in range(n):
            out[i] = alias_draw(&self.alias, &random)
        self.random = random
        return 0
