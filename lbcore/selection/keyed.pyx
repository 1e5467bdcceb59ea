"""The base class of selectors that choose by a key: they hash names, and can bound loads. No I/O.

Bounded loads: with `bounded_load=c`, a server that has c times its share of the requests under lease, cap = ceil(c * (m + 1) *
w / W), is passed over, and the key goes to its next choice that has room (Mirrokni, Thorup, Zadimoghaddam, Consistent
hashing with bounded loads, arXiv 1608.01350). In all selectors here but a ring with overflow="walk", the next choice depends on the
key and not on the full server alone; this is the variant of Chen, Coleman and Shrivastava, Revisiting consistent hashing with bounded
loads, arXiv 1908.08762, in which a full server does not fill its neighbour.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from lbcore.selection.atomic cimport atomic_load_u64
from lbcore.selection.bound cimport BOUND_ONE, Bound
from lbcore.selection.hashing cimport HASH_MIX64, hash_kind, hash_server
from lbcore.selection.hrw cimport hrw_find
from lbcore.selection.mix cimport mix64
from lbcore.selection.algorithm cimport Algorithm
from lbcore.selection.wide cimport uint128

cdef enum:
    MAX_BOUND = 1024


cdef class Keyed(Algorithm):
    """Keyed(servers=(), *, seed=0, hash="mix64", bounded_load=None)\n--\n\nThe base class of selectors that choose by a key.

    A subclass implements `build`, which makes the tables that depend on servers and weights, `resolve`, which makes those that
    depend on which servers are open, and `seek`, the choice. It implements `choose` too if a pick without bars and bounds is faster.

    hash          of keys and names, one of `HASHES`.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    """

    def __init__(self, servers=(), *, seed: int = 0, hash: str = "mix64", bounded_load: float | None = None):
        self.setting(hash, bounded_load)
        self.setup(servers, seed)

    def __cinit__(self, *arguments, **named):
        self.keyed = True
        self.built_count = -1
        self.hash_name = "mix64"

    def __dealloc__(self):
        free(self.ids)
        free(self.built_epochs)
        free(self.built_weights)

    cdef int setting(self, str hash, object bounded_load) except -1:
        """Take over the options that all selectors by key have. Raises TypeError or ValueError."""
        self.hash = hash_kind(hash)
        self.hash_name = hash
        self.plain_keys = self.hash == HASH_MIX64
        self.bounded_load = bounded_load
        self.factor = 0
        if bounded_load is not None:
            if isinstance(bounded_load, bool) or not isinstance(bounded_load, (int, float)):
                raise TypeError(f"bounded_load has to be a number, not {bounded_load!r}")
            if not 1 < bounded_load <= MAX_BOUND:
                raise ValueError(f"bounded_load has to be above 1 and {MAX_BOUND} at most, not {bounded_load}")
            self.factor = max(<uint64_t>(BOUND_ONE + 1), <uint64_t>round(bounded_load * BOUND_ONE))
        return 0

    cdef dict options(self):
        found = {}
        if self.hash_name != "mix64":
            found["hash"] = self.hash_name
        if self.bounded_load is not None:
            found["bounded_load"] = self.bounded_load
        return found

    cdef int check(self, object server) except -1:
        hash_server(server, self.hash, self.seed)
        return 0

    cdef int append(self, object server, object weight, bint up) except -1:
        self.check(server)
        return Algorithm.append(self, server, weight, up)

    cdef int prepare(self) except -1:
        cdef Py_ssize_t i
        cdef uint32_t first = 0
        cdef bint same = self.built_count == self.count
        self.open_total = 0
        self.equal = self.all_open = True
        for i in range(self.count):
            self.open_total += self.open[i]
            self.all_open = self.all_open and self.open[i] == self.weights[i]
            if self.open[i]:
                if first == 0:
                    first = self.open[i]
                self.equal = self.equal and self.open[i] == first
            same = same and self.built_epochs[i] == self.epochs[i] and self.built_weights[i] == self.weights[i]
        if not same:
            self.renew()
        self.resolve()
        return 0

    cdef int renew(self) except -1:
        """Hash the names and call `build`, because servers or weights have changed."""
        cdef Py_ssize_t i, room = self.count + 1
        cdef uint64_t id
        cdef void* grown
        cdef void*** arrays = [<void**>&self.ids, <void**>&self.built_epochs, <void**>&self.built_weights]
        cdef size_t* sizes = [sizeof(uint64_t), sizeof(uint64_t), sizeof(uint32_t)]
        cdef set seen = set()
        self.built_count = -1
        for i in range(3):
            grown = realloc(arrays[i][0], room * sizes[i])
            if grown == NULL:
                raise MemoryError
            arrays[i][0] = grown
        for i in range(self.count):
            id = mix64(hash_server(self.names[i], self.hash, self.seed))
            while id in seen:  # servers that are not equal but have the same name
                id = mix64(id + 1)
            seen.add(id)
            self.ids[i] = id
            self.built_epochs[i] = self.epochs[i]
            self.built_weights[i] = self.weights[i]
        self.build()
        self.built_count = self.count
        return 0

    cdef int build(self) except -1:
        """Build the tables that depend on `ids` and `weights`. Called when servers or weights have changed."""
        return 0

    cdef int resolve(self) except -1:
        """Build the tables that depend on `open`. Called after every change."""
        return 0

    cdef Py_ssize_t seek(self, uint64_t key, const uint8_t* barred, const Bound* bound) noexcept nogil:
        """The first choice of a key that is open, not barred and not full; -1 when there is none. Bounded time, no allocation."""
        return self.rank(key, barred, bound)

    cdef Py_ssize_t rank(self, uint64_t key, const uint8_t* barred, const Bound* bound) noexcept nogil:
        """`seek` by weighted rendezvous hashing, O(servers): the last resort when hardly any server may be picked."""
        return hrw_find(self.ids, self.open, self.count, self.equal, key, barred, bound)

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        cdef Bound bound
        cdef Py_ssize_t found
        if self.open_total == 0:
            return -1
        if self.factor == 0:
            return self.seek(key, barred, NULL)
        bound.loads = self.load_at
        bound.open = self.open
        bound.total = self.open_total
        bound.factor = self.factor
        bound.wanted = atomic_load_u64(&self.in_flight_total) + 1
        found = self.seek(key, barred, &bound)
        # At least one open server has room, but it may be barred.
        return self.least_full(barred) if found < 0 else found

    cdef Py_ssize_t least_full(self, const uint8_t* barred) noexcept nogil:
        """The server with the fewest requests in flight for its weight, among those that are open and not barred; -1 = none."""
        cdef Py_ssize_t i, best = -1
        cdef uint64_t load, least = 0
        for i in range(self.count):
            if self.open[i] and (barred == NULL or not barred[i]):
                load = atomic_load_u64(&self.load_at[i].in_flight)
                if best < 0 or <uint128>load * self.open[best] < <uint128>least * self.open[i]:
                    best, least = i, load
        return best
