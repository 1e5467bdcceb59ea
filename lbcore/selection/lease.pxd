# A request under way at a server.

from libc.stdint cimport uint64_t

from lbcore.selection.selector cimport Selector


cdef class Lease:
    cdef readonly Selector selector
    cdef readonly object server
    cdef uint64_t epoch
    cdef uint64_t started_ns
    cdef bint ended

    cdef int close(self, uint64_t latency_ns, bint ok, bint tell) except -1
    cdef int settle(self, object kind) except -1
