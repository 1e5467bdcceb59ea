"""The Cookie header of a request. No I/O."""

from lbcore.http.head cimport Header
from lbcore.http.span cimport Span, span_eq, span_ieq, span_of


cdef Span find_cookie(const Header* headers, Py_ssize_t n_headers, const char* name, Py_ssize_t length) noexcept nogil:
    """The value of the first cookie with a name (RFC 6265 section 5.4), a part of its header; a NULL pointer if there is none."""
    cdef Py_ssize_t i, at, end, equals
    cdef Span line
    for i in range(n_headers):
        if not span_ieq(headers[i].name, b"cookie", 6):
            continue
        line = headers[i].value
        at = 0
        while at < line.len:
            while at < line.len and (line.ptr[at] == c" " or line.ptr[at] == c"\t"):
                at += 1
            end = at
            while end < line.len and line.ptr[end] != c";":
                end += 1
            equals = at + length
            if equals < end and line.ptr[equals] == c"=" and span_eq(span_of(line.ptr + at, length), name, length):
                at = equals + 1
                while end > at and (line.ptr[end - 1] == c" " or line.ptr[end - 1] == c"\t"):
                    end -= 1
                if end - at >= 2 and line.ptr[at] == c'"' and line.ptr[end - 1] == c'"':
                    return span_of(line.ptr + at + 1, end - at - 2)
                return span_of(line.ptr + at, end - at)
            at = end + 1
    return span_of(NULL, 0)
