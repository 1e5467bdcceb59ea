"""Weighted round robin in Tijdeman's order, which is never a whole pick away from the ideal. No I/O.

For formula and source see `lbcore.selection.chairman`. Vector: weights 5, 1, 1 give a a b a a c a.
"""

cimport cython

from lbcore.selection.chairman cimport chairman_build
from lbcore.selection.ordered cimport Ordered


@cython.final
cdef class Tijdeman(Ordered):
    """Tijdeman(servers=(), *, seed=0)\n--\n\nWeighted round robin in Tijdeman's order: after any k picks |picks - k*w/W| <= 1 - 1/(2n-2) for each of n servers.

    A pick is O(1), or O(log n) if the period of the weights is above 262,144. A change of weights costs O(period * log n)
    before the next pick. Memory: 4 bytes per step of the period. The proxy's strategy `wrr` has this order.
    """

    def __init__(self, servers=(), *, seed: int = 0):
        self.setup(servers, seed)

    cdef int build_cycle(self) except -1:
        return chairman_build(&self.cycle, self.open, self.count)
