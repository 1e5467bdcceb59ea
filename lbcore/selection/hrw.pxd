# Weighted rendezvous hashing: the highest score wins.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.bound cimport Bound


cdef uint64_t hrw_distance(uint64_t hash) noexcept nogil
cdef Py_ssize_t hrw_find(
    const uint64_t* ids, const uint32_t* open, Py_ssize_t count, bint equal, uint64_t key, const uint8_t* barred,
    const Bound* bound) noexcept nogil
