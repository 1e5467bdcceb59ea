# A pointer and a length: how every method, path, header name and value is passed. Owns nothing.

from libc.string cimport memcmp


cdef struct Span:
    const char* ptr        # not NUL-terminated; borrowed from a buffer or an arena
    Py_ssize_t len         # bytes; 0 when empty or absent


cdef inline Span span_of(const char* ptr, Py_ssize_t length) noexcept nogil:
    cdef Span span
    span.ptr = ptr
    span.len = length
    return span


cdef inline char ascii_lower(char c) noexcept nogil:
    return <char>(c | 0x20) if c'A' <= c <= c'Z' else c


cdef inline bint span_eq(Span a, const char* ptr, Py_ssize_t length) noexcept nogil:
    return a.len == length and memcmp(a.ptr, ptr, length) == 0


cdef inline bint span_ieq(Span a, const char* lower, Py_ssize_t length) noexcept nogil:
    """ASCII case-insensitive comparison; `lower` is in lower case already."""
    cdef Py_ssize_t i
    if a.len != length:
        return False
    for i in range(length):
        if ascii_lower(a.ptr[i]) != lower[i]:
            return False
    return True


cdef inline bytes span_bytes(Span span):
    return span.ptr[:span.len] if span.len else b""
