# The body of a request, kept while it passes: to be sent again, or to others.

from libc.stdint cimport int64_t

from lbcore.http.span cimport Span


cdef class Recording:
    cdef char* base
    cdef Py_ssize_t room
    cdef Py_ssize_t size               # bytes kept
    cdef int64_t limit                 # bytes that may be kept; -1 = any
    cdef bint complete                 # the body has ended
    cdef bint lost                     # it is longer than `limit`: nothing is kept

    cdef int add(self, Span data) except -1
    cdef void forget(self) noexcept

    cdef inline Span since(self, Py_ssize_t offset) noexcept:
        """What is kept from `offset` on."""
        cdef Span span
        span.ptr = self.base + offset
        span.len = self.size - offset
        return span
