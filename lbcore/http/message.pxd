# What a request head and an answer's head share: a growing list of headers, an arena for new strings, the framing.

from libc.stdint cimport uint8_t

from lbcore.http.arena cimport Arena
from lbcore.http.framing cimport Framing
from lbcore.http.head cimport Header
from lbcore.http.span cimport Span

cdef enum:
    HEAD_PARTIAL = 0           # of `parse`: more bytes are needed
    MAX_HEADERS = 256          # of one message


cdef class Message:
    cdef Header* headers       # in order of arrival
    cdef uint8_t* kinds        # one HeaderKind per header
    cdef Py_ssize_t n_headers
    cdef Py_ssize_t capacity   # of headers and kinds
    cdef Framing framing
    cdef Arena arena

    cdef void clear(self) noexcept
    cdef char* alloc(self, Py_ssize_t size) except NULL
    cdef int grow(self) noexcept
    cdef int append(self, Span name, Span value) except -1
    cdef Span find(self, const char* lower, Py_ssize_t length) noexcept
    cdef void drop(self, const char* lower, Py_ssize_t length) noexcept
    cdef void drop_at(self, Py_ssize_t index) noexcept
    cdef Py_ssize_t parse_trailers(self, const char* data, Py_ssize_t length, Py_ssize_t seen) noexcept
