# AnchorHash: buckets of which any may go and come back.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.selection.bucketed cimport Renumbered
from lbcore.selection.mix cimport mix64
from lbcore.selection.wide cimport scaled

cdef struct Anchors:
    uint32_t* sizes            # by bucket: 0 = in use, else how many were left in use when it went
    uint32_t* heirs            # by bucket: who took its place then
    uint32_t* used             # the first `n`: buckets in use
    uint32_t* at               # by bucket: where it is in `used`
    uint32_t capacity
    uint32_t n


cdef class Anchor(Renumbered):
    cdef Anchors anchors
    cdef object capacity       # asked for, or None


cdef int anchor_begin(Anchors* anchors, uint32_t capacity) except -1
cdef void anchor_remove(Anchors* anchors, uint32_t bucket) noexcept nogil
cdef void anchor_add(Anchors* anchors, uint32_t bucket) noexcept nogil
cdef void anchor_free(Anchors* anchors) noexcept nogil


cdef inline uint32_t anchor_hash(uint64_t key, uint64_t bucket, uint32_t limit) noexcept nogil:
    return <uint32_t>scaled(mix64(key + (bucket + 1) * <uint64_t>0x9E3779B97F4A7C15), limit)


cdef inline uint32_t anchor_find(const Anchors* anchors, uint64_t key) noexcept nogil:
    """The bucket of a key. One is in use."""
    cdef uint32_t found = <uint32_t>scaled(mix64(key), anchors.capacity), other
    while anchors.sizes[found]:
        other = anchor_hash(key, found, anchors.sizes[found])
        while anchors.sizes[other] >= anchors.sizes[found]:
            other = anchors.heirs[other]
        found = other
    return found
