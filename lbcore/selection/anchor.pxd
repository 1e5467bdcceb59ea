# AnchorHash: a fixed number of buckets, any of which may be removed and added again.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.selection.bucketed cimport Renumbered
from lbcore.selection.mix cimport mix64
from lbcore.selection.wide cimport scaled

cdef struct Anchors:           # `sizes` owns one allocation, into which the other arrays point; `anchor_free` frees it
    uint32_t* sizes            # by bucket: 0 = in use, else the number of buckets left in use after its removal: A of the paper
    uint32_t* heirs            # by bucket: the bucket that took its place then: K
    uint32_t* used             # the first `n` items: the buckets in use: W
    uint32_t* at               # by bucket: its position in `used`: L
    uint32_t capacity
    uint32_t n                 # buckets in use


cdef class Anchor(Renumbered):
    cdef Anchors anchors
    cdef object capacity       # the constructor's, or None


cdef int anchor_begin(Anchors* anchors, uint32_t capacity) except -1
cdef void anchor_remove(Anchors* anchors, uint32_t bucket) noexcept nogil
cdef void anchor_add(Anchors* anchors, uint32_t bucket) noexcept nogil
cdef void anchor_free(Anchors* anchors) noexcept nogil


cdef inline uint32_t anchor_hash(uint64_t key, uint64_t bucket, uint32_t limit) noexcept nogil:
    return <uint32_t>scaled(mix64(key + (bucket + 1) * <uint64_t>0x9E3779B97F4A7C15), limit)


cdef inline uint32_t anchor_find(const Anchors* anchors, uint64_t key) noexcept nogil:
    """The bucket of a key. At least one bucket must be in use."""
    cdef uint32_t found = <uint32_t>scaled(mix64(key), anchors.capacity), other
    while anchors.sizes[found]:
        other = anchor_hash(key, found, anchors.sizes[found])
        while anchors.sizes[other] >= anchors.sizes[found]:
            other = anchors.heirs[other]
        found = other
    return found
