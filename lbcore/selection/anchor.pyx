"""AnchorHash: a fixed number of buckets, any of which may be removed; the last one removed is the first to be added again. No I/O.

The removal of bucket b stores the number of buckets that are left, A[b], and the bucket that takes its place among them, K[b]. A key
of b is hashed again into the buckets that were left, and follows K past those removed before b. Source: Mendelson, Vargaftik,
Barabash, Lorenz, Keslassy, Orda, AnchorHash: a scalable consistent hash, arXiv 1812.09674. Here the hash of a key at bucket b is
mix64(key + (b + 1) * 0x9E3779B97F4A7C15), its upper bits times the range; the first hash of a key is mix64(key).
Vector: capacity 8, servers a to e, then c removed: the keys user-0 to user-9 go to abadebaeab.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from lbcore.selection.bucketed cimport Renumbered

cdef enum:
    LEAST_CAPACITY = 16
    MOST_CAPACITY = 1 << 26


cdef int anchor_begin(Anchors* anchors, uint32_t capacity) except -1:
    """Replace the buckets by `capacity` buckets that are all in use. O(capacity). Raises MemoryError."""
    cdef uint32_t i
    cdef uint32_t* room = <uint32_t*>malloc((4 * <size_t>capacity + 1) * sizeof(uint32_t))
    if room == NULL:
        raise MemoryError
    anchor_free(anchors)
    anchors.sizes = room
    anchors.heirs = room + capacity
    anchors.used = room + 2 * <size_t>capacity
    anchors.at = room + 3 * <size_t>capacity
    anchors.capacity = anchors.n = capacity
    for i in range(capacity):
        anchors.sizes[i] = 0
        anchors.heirs[i] = anchors.used[i] = anchors.at[i] = i
    return 0


cdef void anchor_remove(Anchors* anchors, uint32_t bucket) noexcept nogil:
    """Take a bucket out of use. O(1)."""
    cdef uint32_t heir
    anchors.n -= 1
    heir = anchors.used[anchors.n]
    anchors.sizes[bucket] = anchors.n
    anchors.used[anchors.at[bucket]] = anchors.heirs[bucket] = heir
    anchors.at[heir] = anchors.at[bucket]


cdef void anchor_add(Anchors* anchors, uint32_t bucket) noexcept nogil:
    """Add the bucket that was removed last. O(1)."""
    anchors.sizes[bucket] = 0
    anchors.at[anchors.used[anchors.n]] = anchors.n
    anchors.used[anchors.at[bucket]] = anchors.heirs[bucket] = bucket
    anchors.n += 1


cdef void anchor_free(Anchors* anchors) noexcept nogil:
    free(anchors.sizes)
    anchors.sizes = NULL
    anchors.capacity = anchors.n = 0


@cython.final
cdef class Anchor(Renumbered):
    """Anchor(servers=(), *, seed=0, capacity=None, hash="mix64", bounded_load=None)\n--\n\nAnchorHash: any server may be added or removed, and keys move only to or from it
    (with weights that differ, nearly only).

    A pick is expected to be O((1 + ln(capacity / servers))**2), which is O(1) near capacity; a change of servers is O(servers) before
    the next pick, for the names, not for the algorithm. Shares are exactly even; weights and closed servers work by rejection
    (`lbcore.selection.bucketed`), with w_max * servers / W expected tries. Memory: 28 bytes per unit of capacity.

    A new server takes the bucket of the server that was removed last, and part of its keys; `set_up` keeps a server's bucket.
    The mapping of keys depends on the order in which servers were added and removed: processes that have to agree must make the
    same changes in the same order, or pass on a `state`.

    capacity      the highest number of servers at any time; adding more raises ValueError. None = twice the number at the first
                  pick, at least 16; when that is used up it doubles, which moves most keys.
    hash          of keys, one of `HASHES`.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    """

    def __init__(self, servers=(), *, seed: int = 0, capacity: int | None = None, hash: str = "mix64",
                 bounded_load: float | None = None):
        if capacity is not None:
            if isinstance(capacity, bool) or not isinstance(capacity, int):
                raise TypeError(f"capacity has to be an int, not {capacity!r}")
            if not 1 <= capacity <= MOST_CAPACITY:
                raise ValueError(f"capacity has to be between 1 and {MOST_CAPACITY}, not {capacity}")
        self.capacity = capacity
        self.setting(hash, bounded_load)
        self.setup(servers, seed)

    def __dealloc__(self):
        anchor_free(&self.anchors)

    cdef dict options(self):
        found = Renumbered.options(self)
        if self.capacity is not None:
            found["capacity"] = self.capacity
        return found

    cdef int append(self, object server, object weight, bint up) except -1:
        if self.capacity is not None and self.count >= self.capacity and server not in self.index_of:
            raise ValueError(f"there is a capacity of {self.capacity} servers")
        if self.capacity is None and self.anchors.n == self.anchors.capacity:
            self.fresh = True
        return Renumbered.append(self, server, weight, up)

    cdef int begin(self) except -1:
        cdef Py_ssize_t capacity = LEAST_CAPACITY, bucket
        if self.capacity is None:
            while capacity < 2 * self.count:
                capacity *= 2
        else:
            capacity = self.capacity
        anchor_begin(&self.anchors, <uint32_t>capacity)
        for bucket in range(capacity - 1, self.count - 1, -1):
            self.give(bucket)
        return 0

    cdef int take(self) except -1:
        cdef uint32_t bucket = self.removed.pop()
        anchor_add(&self.anchors, bucket)
        return bucket

    cdef int give(self, Py_ssize_t bucket) except -1:
        anchor_remove(&self.anchors, <uint32_t>bucket)
        self.removed.append(bucket)
        return 0

    cdef int again(self) except -1:
        """Replay the removals on a full set of buckets."""
        anchor_begin(&self.anchors, <uint32_t>(self.count + len(self.removed)))
        for bucket in self.removed:
            anchor_remove(&self.anchors, bucket)
        return 0

    cdef Py_ssize_t bucket(self, uint64_t key) noexcept nogil:
        return anchor_find(&self.anchors, key)
