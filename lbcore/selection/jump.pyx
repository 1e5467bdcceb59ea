"""Jump consistent hashing: numbered buckets, no table. No I/O.

b, j = -1, 0; while j < n: b = j; key = key * 2862933555777941757 + 1 (64 bits); j = floor((b + 1) * (2**31 / ((key >> 33) + 1))).
Source: Lamping and Veach, A fast, minimal memory, consistent hash algorithm, arXiv 1406.2294. Vectors, key and buckets:
(256, 1024) 520, (10863919174838991, 11) 6, (2016238256797177309, 11) 3, (1673758223894951030, 11) 5, (0xDEADBEEF, 666) 285.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lbcore.selection.bucketed cimport Bucketed
from lbcore.selection.hashing cimport key_value

cdef extern from "jump_lanes.h" nogil:
    Py_ssize_t jump_lanes(const uint64_t* keys, uint32_t* out, Py_ssize_t n, int64_t count)


@cython.binding(False)
def jump_hash(key, long long buckets, /):
    """jump_hash(key, buckets, /)\n--\n\nThe bucket of a key among `buckets`, as published. O(ln buckets).

    key      an int of up to 64 bits, used without hashing. Raises OverflowError for others.
    buckets  1 to 2**31. Raises ValueError for others.
    """
    cdef uint64_t value
    if not 1 <= buckets <= <int64_t>1 << 31:
        raise ValueError(f"buckets are 1 to 2**31, not {buckets}")
    key_value(key, &value)
    return jump_find(value, buckets)


cdef void jump_find_many(const uint64_t* keys, uint32_t* out, Py_ssize_t n, int64_t count) noexcept nogil:
    """`jump_find` for n keys, several at a time where the processor can. O(n ln count)."""
    cdef Py_ssize_t i
    for i in range(jump_lanes(keys, out, n, count), n):
        out[i] = <uint32_t>jump_find(keys[i], count)


@cython.final
cdef class Jump(Bucketed):
    """Jump(servers=(), *, seed=0, hash="mix64", bounded_load=None)\n--\n\nJump consistent hashing: for servers that are numbered and stay, such as shards. O(ln servers), exactly even.

    The order of the servers gives their numbers; their names play no part. A server added at the end takes only the keys it must
    (with weights that differ, nearly only). Removing any but the last server changes the numbers of all behind it, and moves most
    of their keys. `set_up(server, False)` closes a server temporarily and moves only its keys, to all others; `Anchor` and
    `Memento` allow the removal of any server. Weights and closed servers work by rejection (`lbcore.selection.bucketed`), with
    w_max * servers / W expected tries; if all servers are open and have the same weight, the buckets are the published ones.
    Memory: 12 bytes per server.

    Integer keys are used without hashing, as in other implementations of jump, unless there is a seed; str and bytes are hashed.

    hash          of keys, one of `HASHES`.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    """

    def __init__(self, servers=(), *, seed: int = 0, hash: str = "mix64", bounded_load: float | None = None):
        self.setting(hash, bounded_load)
        self.setup(servers, seed)

    cdef int key_hash(self, object key, uint64_t* found) except -1:
        if isinstance(key, int) and self.seed == 0:
            return key_value(key, found)
        return Bucketed.key_hash(self, key, found)

    cdef int assign(self) except -1:
        cdef Py_ssize_t i
        self.size_buckets(self.count)
        for i in range(self.count):
            self.owners[i] = <uint32_t>i
        return 0

    cdef Py_ssize_t bucket(self, uint64_t key) noexcept nogil:
        return <Py_ssize_t>jump_find(key, self.count)

    cdef void find_buckets(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        jump_find_many(keys, out, n, self.count)

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        if not self.plain or barred != NULL or self.factor:
            return Bucketed.choose(self, key, barred)
        return <Py_ssize_t>jump_find(key, self.count)
