# Text of clients and servers, and times, in lines of the access log.

from libc.stdint cimport uint64_t

from lbcore.http.span cimport Span

cdef enum:
    ESCAPED = 4                # most bytes that `put_quoted` writes for one byte


cdef inline char* put_text(char* out, const char* text, Py_ssize_t length) noexcept nogil:
    for i in range(length):
        out[i] = text[i]
    return out + length


cdef char* put_quoted(char* out, Span span) noexcept nogil
cdef Span start_time(uint64_t duration_ns) noexcept nogil
