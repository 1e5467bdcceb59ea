# The head of an answer: parsed from a server or made by lbcore, and changed by middlewares until it is sent.

from lbcore.http.message cimport Message
from lbcore.http.span cimport Span


cdef class Response(Message):
    cdef int status
    cdef int minor_version
    cdef Span reason           # as the server has sent it, in the arena; may be empty
    cdef Span text             # body of an answer made by lbcore: a constant, or in the arena
    cdef Message trailers      # the trailer section; None until one was parsed, empty when the answer has none

    cdef void clear(self) noexcept
    cdef Message trailer_section(self)
    cdef Py_ssize_t parse(self, const char* data, Py_ssize_t length, Py_ssize_t seen, bint head_request) noexcept
    cdef Py_ssize_t read_lines(self, const char* data, Py_ssize_t length, Py_ssize_t seen) noexcept
