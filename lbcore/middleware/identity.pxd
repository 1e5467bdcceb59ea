# A header that says to servers who the client is.

from lbcore.http.request cimport Request
from lbcore.http.span cimport Span


cdef class IdentityHeader:             # immutable
    cdef readonly bytes name           # as it is written
    cdef readonly bytes lower
    cdef bytes folded                  # `lower` with dashes for all but letters and digits

    cdef int remove(self, Request request) except -1
    cdef int add(self, Request request, Span value) except -1
    cdef int put(self, Request request, bytes value) except -1
