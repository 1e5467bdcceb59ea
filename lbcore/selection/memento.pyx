"""MementoHash: jump consistent hashing, with a record of removed buckets. No I/O.

The removal of a bucket records the number c of buckets that are left; bucket c takes its place. A key that jump maps to a removed
bucket is hashed again into these c, and follows the records past buckets removed earlier. Without records it is jump. Source:
Coluzzi, Brocco, Contu, Leidi, MementoHash: a stateful, minimal memory, best performing consistent hash algorithm, arXiv 2306.09783.
Here the hash of a key at bucket b is mix64(key + (b + 1) * 0x9E3779B97F4A7C15), its upper bits times c.
Vector: servers a to e, then c removed: the keys user-0 to user-9 go to daadbedeab.
"""

cimport cython
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from lbcore.selection.bucketed cimport Renumbered
from lbcore.selection.jump cimport jump_find_many


@cython.final
cdef class Memento(Renumbered):
    """Memento(servers=(), *, seed=0, hash="mix64", bounded_load=None)\n--\n\nMementoHash: any server may be added or removed, without a capacity, and keys move only to or from it
    (with weights that differ, nearly only).

    A pick is O(ln n + ln(n / servers)**2), where n counts the servers and the buckets of removed servers that were not replaced; a
    change of servers is O(servers) before the next pick, for the names, not for the algorithm. Shares are exactly even; weights and
    closed servers work by rejection (`lbcore.selection.bucketed`), with w_max * servers / W expected tries. Memory: 16 bytes per
    bucket.

    A new server takes the bucket of the server that was removed last, and part of its keys; `set_up` keeps a server's bucket.
    The mapping of keys depends on the order in which servers were added and removed: processes that have to agree must make the
    same changes in the same order, or pass on a `state`.

    hash          of keys, one of `HASHES`.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    """

    def __init__(self, servers=(), *, seed: int = 0, hash: str = "mix64", bounded_load: float | None = None):
        self.setting(hash, bounded_load)
        self.setup(servers, seed)

    def __dealloc__(self):
        free(self.memo.left)

    cdef int grow(self, Py_ssize_t size) except -1:
        """Increase the number of buckets to `size`; new ones are in use. Raises MemoryError."""
        cdef Py_ssize_t i, room = self.memo_room
        cdef void* grown
        if size > room:
            room = max(size, 2 * room)
            grown = realloc(self.memo.left, room * sizeof(int32_t))
            if grown == NULL:
                raise MemoryError
            self.memo.left = <int32_t*>grown
            self.memo_room = room
        for i in range(self.memo.size, size):
            self.memo.left[i] = MEMENTO_USED
        self.memo.size = <int32_t>size
        return 0

    cdef int begin(self) except -1:
        self.memo.size = self.memo.removed = 0
        return self.grow(self.count)

    cdef int take(self) except -1:
        cdef int32_t bucket = self.memo.size
        if self.removed:
            bucket = self.removed.pop()
            self.memo.left[bucket] = MEMENTO_USED
            self.memo.removed -= 1
        else:
            self.grow(bucket + 1)
        return bucket

    cdef int give(self, Py_ssize_t bucket) except -1:
        if not self.removed and bucket == self.memo.size - 1:
            self.memo.size -= 1
            return 0
        self.memo.removed += 1
        self.memo.left[bucket] = self.memo.size - self.memo.removed
        self.removed.append(bucket)
        return 0

    cdef int again(self) except -1:
        """Replay the removals on a full set of buckets."""
        cdef int32_t left
        self.memo.size = self.memo.removed = 0
        self.grow(self.count + len(self.removed))
        for bucket in self.removed:
            self.memo.removed += 1
            self.memo.left[<Py_ssize_t>bucket] = self.memo.size - self.memo.removed
        return 0

    cdef Py_ssize_t bucket(self, uint64_t key) noexcept nogil:
        return memento_find(&self.memo, key)

    cdef void find_buckets(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        cdef Py_ssize_t i
        jump_find_many(keys, out, n, self.memo.size)
        if self.memo.removed:
            for i in range(n):
                out[i] = <uint32_t>memento_follow(&self.memo, keys[i], <int32_t>out[i])
