"""Weighted rendezvous hashing, highest random weight (HRW). No I/O.

score = -w / ln(u), u = ((h >> 11) + 0.5) / 2**53, h = mix64(key ^ id); the highest score wins. For source and computation see
`lbcore.selection.hrw`. Vector: servers app-v1, app-v2, app-v3 of weights 3, 1, 1 give the keys user-0 to user-9
2111113132.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t

from lbcore.selection.keyed cimport Keyed


@cython.final
cdef class Rendezvous(Keyed):
    """Rendezvous(servers=(), *, seed=0, hash="mix64", bounded_load=None)\n--\n\nWeighted rendezvous hashing: the least possible movement of keys, exactly proportional shares, no table.

    A server that is removed or closes loses its keys and no other key moves; a server that is added, opens or gains weight takes
    only the keys it must, evenly from all others. The order of servers decides nothing. A pick is O(servers), a
    change O(servers) before the next pick. Memory: 8 bytes per server.

    hash          of keys and names, one of `HASHES`.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    """

    def __init__(self, servers=(), *, seed: int = 0, hash: str = "mix64", bounded_load: float | None = None):
        self.setting(hash, bounded_load)
        self.setup(servers, seed)

    cdef int choose_many(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        cdef Py_ssize_t i, index
        for i in range(n):
            index = self.rank(keys[i], NULL, NULL) if self.factor == 0 else self.choose(keys[i], NULL)
            if index < 0:
                return -1
            out[i] = <uint32_t>index
        return 0
