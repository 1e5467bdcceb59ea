# Selectors that map a key to a bucket, and buckets to servers.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.keyed cimport Keyed

cdef enum:
    NO_OWNER = 0xFFFFFFFF


cdef class Bucketed(Keyed):
    cdef uint32_t* owners      # by bucket: index of its server, or NO_OWNER
    cdef uint64_t* limits      # by bucket: draws of 32 bits below it are taken
    cdef bint plain            # every draw is: all servers are open and weigh the same
    cdef Py_ssize_t n_buckets

    cdef int size_buckets(self, Py_ssize_t n) except -1
    cdef int assign(self) except -1
    cdef Py_ssize_t bucket(self, uint64_t key) noexcept nogil
    cdef void find_buckets(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil
    cdef void choose_block(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil


cdef class Renumbered(Bucketed):
    cdef list buckets          # by index: the server's bucket
    cdef list removed          # buckets that are nobody's, in the order in which they became it
    cdef bint fresh            # numbers are given at the next pick

    cdef int begin(self) except -1
    cdef int take(self) except -1
    cdef int give(self, Py_ssize_t bucket) except -1
    cdef int again(self) except -1
