"""The base classes of selectors that map a key to a bucket, and buckets to servers. No I/O.

The algorithms themselves know only equal buckets. Weights and closed servers work by rejection: a bucket accepts a key if a draw
from the key is below w / w_max, otherwise the key is hashed again and tries another bucket. Shares are therefore proportional to the
weights; a server that closes loses its keys, no other key moves, and they return when it opens; a change of a weight, unless it is
the largest, moves keys only to or from its server. Where weights differ, adding or removing a server also moves a few keys between
other servers: those that a lighter bucket rejects. Expected tries: w_max * servers / W.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from lbcore.selection.bound cimport Bound, admitted
from lbcore.selection.keyed cimport Keyed
from lbcore.selection.mix cimport mix64

cdef enum:
    TRIES = 256                # buckets tried before servers are ranked
    BLOCK = 512                # keys that are processed together

cdef uint64_t GOLDEN = 0x9E3779B97F4A7C15
cdef uint64_t DRAW = 0xD1B54A32D192ED03


cdef class Bucketed(Keyed):
    """Bucketed(servers=(), *, seed=0, hash="mix64", bounded_load=None)\n--\n\nThe base class of selectors that map a key to a bucket. A subclass implements `bucket` and `assign`."""

    def __init__(self, servers=(), *, seed: int = 0, hash: str = "mix64", bounded_load: float | None = None):
        self.setting(hash, bounded_load)
        self.setup(servers, seed)

    def __dealloc__(self):
        free(self.owners)
        free(self.limits)

    cdef int size_buckets(self, Py_ssize_t n) except -1:
        """Make `n` buckets without servers. Raises MemoryError."""
        cdef Py_ssize_t i
        cdef void* grown = realloc(self.owners, (n + 1) * sizeof(uint32_t))
        if grown == NULL:
            raise MemoryError
        self.owners = <uint32_t*>grown
        grown = realloc(self.limits, (n + 1) * sizeof(uint64_t))
        if grown == NULL:
            raise MemoryError
        self.limits = <uint64_t*>grown
        self.n_buckets = n
        for i in range(n):
            self.owners[i] = NO_OWNER
        return 0

    cdef int assign(self) except -1:
        """Call `size_buckets`, and set the server of each bucket in `owners`."""
        return 0

    cdef Py_ssize_t bucket(self, uint64_t key) noexcept nogil:
        """The bucket of a key. There is at least one server."""
        return 0

    cdef int build(self) except -1:
        return self.assign()

    cdef int resolve(self) except -1:
        """Derive `limits`, relative to the largest weight, open or not, so that closing that server moves no other keys."""
        cdef Py_ssize_t i
        cdef uint64_t most = 1
        cdef uint32_t owner
        for i in range(self.count):
            most = max(most, <uint64_t>self.weights[i])
        self.plain = self.count > 0
        for i in range(self.count):
            self.plain = self.plain and self.open[i] == most
        for i in range(self.n_buckets):
            owner = self.owners[i]
            self.limits[i] = 0 if owner == NO_OWNER else (<uint64_t>self.open[owner] << 32) // most
            if owner != NO_OWNER and self.open[owner] and self.limits[i] == 0:
                self.limits[i] = 1
        return 0

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        if not self.plain or barred != NULL or self.factor:
            return Keyed.choose(self, key, barred)
        return self.owners[self.bucket(key)]

    cdef int choose_many(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        cdef uint64_t block[BLOCK]
        cdef Py_ssize_t together
        if self.open_total == 0 or self.factor:
            return Keyed.choose_many(self, keys, out, n)
        while n > 0:
            together = min(n, <Py_ssize_t>BLOCK)
            memcpy(block, keys, together * sizeof(uint64_t))   # `out` may overlap `keys`
            self.choose_block(block, out, together)
            keys += together
            out += together
            n -= together
        return 0

    cdef void find_buckets(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        """`bucket` of each key."""
        cdef Py_ssize_t i
        for i in range(n):
            out[i] = <uint32_t>self.bucket(keys[i])

    cdef void choose_block(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        """`seek` for up to BLOCK keys: all keys try a bucket, then those that were rejected. No branch depends on a key.

        `out` is the caller's buffer, to which other threads may write: it is never read.
        """
        cdef uint64_t steps[BLOCK]
        cdef uint32_t found[BLOCK]
        cdef uint32_t places[BLOCK]
        cdef Py_ssize_t tries, i, left = n, away
        cdef uint64_t step
        if self.plain:
            self.find_buckets(keys, found, n)
            for i in range(n):
                out[i] = self.owners[found[i]]
            return
        memcpy(steps, keys, n * sizeof(uint64_t))
        for i in range(n):
            places[i] = <uint32_t>i
        for tries in range(TRIES):
            if left == 0:
                return
            self.find_buckets(steps, found, left)
            away = 0
            for i in range(left):
                step = steps[i]
                out[places[i]] = self.owners[found[i]]
                steps[away] = mix64(step + GOLDEN)
                places[away] = places[i]
                away += (mix64(step ^ DRAW) >> 32) >= self.limits[found[i]]
            left = away
        for i in range(left):
            out[places[i]] = <uint32_t>self.rank(keys[places[i]], NULL, NULL)

    cdef Py_ssize_t seek(self, uint64_t key, const uint8_t* barred, const Bound* bound) noexcept nogil:
        cdef Py_ssize_t tries, at
        cdef uint64_t step = key
        for tries in range(TRIES):
            at = self.bucket(step)
            if (mix64(step ^ DRAW) >> 32) < self.limits[at] and admitted(self.owners[at], barred, bound):
                return self.owners[at]
            step = mix64(step + GOLDEN)
        return self.rank(key, barred, bound)


cdef class Renumbered(Bucketed):
    """The base class of algorithms in which any bucket may be removed, and the last one removed is the first to be added again.

    A subclass implements `begin`, `take`, `give` and `again`; its `bucket` returns only buckets in use.
    """

    def __cinit__(self, *arguments, **named):
        self.buckets = []
        self.removed = []
        self.fresh = True

    cdef int begin(self) except -1:
        """Put buckets 0 to `count` - 1 in use, and fill `removed` accordingly."""
        return 0

    cdef int take(self) except -1:
        """Put a bucket in use, if possible the last of `removed`, which it leaves. Returns its number."""
        return 0

    cdef int give(self, Py_ssize_t bucket) except -1:
        """Take a bucket out of use, and append it to `removed`."""
        return 0

    cdef int again(self) except -1:
        """Bring the algorithm's tables into agreement with `buckets` and `removed`, which were restored."""
        return 0

    cdef int append(self, object server, object weight, bint up) except -1:
        Bucketed.append(self, server, weight, up)
        if self.count == 1:
            self.fresh = True
        if not self.fresh:
            self.buckets.append(self.take())
        return 0

    cdef int take_out(self, Py_ssize_t index) except -1:
        """Give up the server's bucket; the next new server gets it."""
        return 0 if self.fresh else self.give(self.buckets.pop(index))

    cdef int assign(self) except -1:
        cdef Py_ssize_t i, n
        if self.fresh:
            self.buckets = list(range(self.count))
            self.removed = []
            self.begin()
            self.fresh = False
        n = max(self.buckets, default=-1) + 1
        self.size_buckets(n)
        for i in range(self.count):
            self.owners[<Py_ssize_t>self.buckets[i]] = <uint32_t>i
        return 0

    cdef dict extra_state(self):
        return {"buckets": list(self.buckets), "removed": list(self.removed)}

    cdef int restore_extra(self, dict state) except -1:
        self.buckets = list(state["buckets"])
        self.removed = list(state["removed"])
        self.again()
        self.built_count = -1
        self.stale = self.attention = True
        return 0
