# One compiled regular expression.

from lbcore.http.span cimport Span


cdef class Regex:
    cdef void* compiled
    cdef readonly str pattern
    cdef readonly int groups           # capturing ones
    cdef readonly dict names           # group number by name

    cdef bint search(self, Span text) except -1
    cdef bint match_from(self, Span text, Py_ssize_t start, Span* found, int count) noexcept nogil


cdef bint regex_search(void* compiled, Span text) noexcept nogil
