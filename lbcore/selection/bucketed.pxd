# The base classes of selectors that map a key to a bucket, and buckets to servers.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.keyed cimport Keyed

cdef enum:
    NO_OWNER = 0xFFFFFFFF


cdef class Bucketed(Keyed):
    cdef uint32_t* owners      # owned; by bucket: the index of its server, or NO_OWNER
    cdef uint64_t* limits      # owned; by bucket: a draw of 32 bits below the limit is accepted
    cdef bint plain            # every draw is accepted, because all servers are open and have the same weight
    cdef Py_ssize_t n_buckets  # items of both arrays

    cdef int size_buckets(self, Py_ssize_t n) except -1
    cdef int assign(self) except -1
    cdef Py_ssize_t bucket(self, uint64_t key) noexcept nogil
    cdef void find_buckets(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil
    cdef void choose_block(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil


cdef class Renumbered(Bucketed):
    cdef list buckets          # by index: the bucket of each server
    cdef list removed          # buckets without a server, in the order of their removal
    cdef bint fresh            # the next pick numbers the buckets anew

    cdef int begin(self) except -1
    cdef int take(self) except -1
    cdef int give(self, Py_ssize_t bucket) except -1
    cdef int again(self) except -1
