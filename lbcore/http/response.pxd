# One answer's head: parsed from a server, or made here, and open to rewriting until it is sent on.

from libc.stdint cimport uint8_t

from lbcore.http.arena cimport Arena
from lbcore.http.framing cimport Framing
from lbcore.http.head cimport Header
from lbcore.http.span cimport Span


cdef class Response:
    cdef int status
    cdef int minor_version
    cdef Span reason           # as the server wrote it; may be empty
    cdef Header* headers
    cdef uint8_t* kinds        # one HeaderKind per header
    cdef Py_ssize_t n_headers
    cdef Py_ssize_t capacity
    cdef Framing framing
    cdef Arena arena

    cdef Py_ssize_t parse(self, const char* data, Py_ssize_t length, Py_ssize_t seen, bint head_request) noexcept
    cdef void reset(self) noexcept
    cdef int add_header(self, Span name, Span value) except -1
    cdef char* alloc(self, Py_ssize_t size) except NULL
    cdef int grow(self) noexcept
