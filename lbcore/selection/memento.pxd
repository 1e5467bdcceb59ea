# MementoHash: jump consistent hashing, with a record of removed buckets.

from libc.stdint cimport int32_t, uint64_t

from lbcore.selection.bucketed cimport Renumbered
from lbcore.selection.jump cimport jump_find
from lbcore.selection.mix cimport mix64
from lbcore.selection.wide cimport scaled

cdef enum:
    MEMENTO_USED = -1


cdef struct Memo:
    int32_t* left              # owned; by bucket: the buckets left in use after its removal, which also is its heir; or MEMENTO_USED
    int32_t size               # buckets, in use or not
    int32_t removed            # those of them that are not in use


cdef class Memento(Renumbered):
    cdef Memo memo
    cdef Py_ssize_t memo_room

    cdef int grow(self, Py_ssize_t size) except -1


cdef inline int32_t memento_follow(const Memo* memo, uint64_t key, int32_t found) noexcept nogil:
    """The bucket in use of a key that jump maps to bucket `found`."""
    cdef int32_t left = memo.left[found], before
    while left >= 0:
        found = <int32_t>scaled(mix64(key + <uint64_t>(found + 1) * <uint64_t>0x9E3779B97F4A7C15), <uint64_t>left)
        before = memo.left[found]
        while before >= left:
            found = before
            before = memo.left[found]
        left = before
    return found


cdef inline int32_t memento_find(const Memo* memo, uint64_t key) noexcept nogil:
    """The bucket of a key. At least one bucket must be in use."""
    return memento_follow(memo, key, <int32_t>jump_find(key, memo.size))
