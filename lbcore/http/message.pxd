# The base of request heads, answer heads and trailer sections: a growing list of headers, an arena, the framing.
#
# A message owns all of its bytes: parsed text is copied into the arena. Every span of a message is valid until its `clear`, or points
# to a constant.

from libc.stdint cimport uint8_t

from lbcore.http.arena cimport Arena
from lbcore.http.framing cimport Framing
from lbcore.http.head cimport Header
from lbcore.http.span cimport Span

cdef enum:
    HEAD_PARTIAL = 0           # result of `parse`: more bytes are needed
    MAX_HEADER_LINES = 10000   # limit of a head or trailer section, unless an option sets another


cdef class Message:
    cdef Header* headers       # in order of arrival; owned, like `kinds`; both move when the list grows
    cdef uint8_t* kinds        # one HeaderKind per header
    cdef Py_ssize_t n_headers
    cdef Py_ssize_t capacity   # of headers and kinds
    cdef bint repairs            # sloppy lines are repaired (answers), not refused (requests): see `lenient`
    cdef Framing framing
    cdef Arena arena

    cdef void clear(self) noexcept
    cdef char* alloc(self, Py_ssize_t size) except NULL
    cdef int grow(self) noexcept
    cdef void shrink(self) noexcept
    cdef const char* own(self, const char* data, Py_ssize_t length) noexcept
    cdef Span keep(self, Span span) except *
    cdef int append(self, Span name, Span value) except -1
    cdef Span find(self, const char* lower, Py_ssize_t length) noexcept
    cdef bint lists(self, const char* lower, Py_ssize_t length, Span token) noexcept
    cdef void drop(self, const char* lower, Py_ssize_t length) noexcept
    cdef void drop_at(self, Py_ssize_t index) noexcept
    cdef Py_ssize_t parse_trailers(self, const char* data, Py_ssize_t length, Py_ssize_t seen) noexcept
    cdef Py_ssize_t read_trailers(self, const char* data, Py_ssize_t length, Py_ssize_t seen) noexcept
    cdef int join_lines(self) noexcept
