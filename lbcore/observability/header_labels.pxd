# Counters of requests by the values of some of their headers, in the shared region.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.http.buffer cimport Buffer
from lbcore.http.render cimport ForwardPolicy
from lbcore.http.request cimport Request
from lbcore.http.span cimport Span
from lbcore.state.layout cimport LABEL_BYTES, LabelRow


cdef class HeaderLabels:
    cdef tuple names                   # of headers: lower case, as bytes
    cdef bytes kinds                   # HeaderKind of each
    cdef LabelRow* rows                # the rows of this worker, in the region
    cdef uint64_t* used                # number of rows in use, in the region
    cdef uint64_t* shed                # requests whose values had no room, in the region
    cdef uint32_t* index               # by hash of key and values: row + 1; 0 = none. Owned
    cdef object region                 # keeps the memory mapped
    cdef uint64_t seed                 # of the hash, so that clients cannot choose values that collide
    cdef char text[LABEL_BYTES]        # the values of the request that was read last, each behind its length
    cdef Py_ssize_t length             # of that
    cdef Buffer forwarded              # scratch for the headers that servers get and clients do not set. Owned

    cdef int read(self, Request request, const ForwardPolicy* forward) except -1
    cdef void add(self, uint64_t key) noexcept nogil
    cdef Span value_of(self, Request request, const ForwardPolicy* forward, Py_ssize_t at) except *
    cdef Span added(self, Request request, const ForwardPolicy* forward, bytes name) except *
    cdef LabelRow* row_of(self, uint64_t key, Py_ssize_t length, uint64_t room) noexcept nogil
    cdef void enter(self, uint64_t hash, uint32_t row) noexcept nogil
