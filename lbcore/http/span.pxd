# A pointer and a length: how every method, path, header name and value is passed. Owns nothing.

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy


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


cdef inline uint64_t lower_8(const char* ptr) noexcept nogil:
    """Eight bytes with the bit set that upper-case letters lack."""
    cdef uint64_t word
    memcpy(&word, ptr, 8)
    return word | <uint64_t>0x2020202020202020


cdef inline uint32_t lower_4(const char* ptr) noexcept nogil:
    cdef uint32_t word
    memcpy(&word, ptr, 4)
    return word | 0x20202020


cdef inline bint token_ieq(const char* token, const char* lower, Py_ssize_t length) noexcept nogil:
    """Whether a token (RFC 9110 section 5.6.2) of that length equals, without case, a name of lower-case letters and dashes.

    Eight bytes at a time, the last ones overlapping. No byte of a token but the letter in upper case becomes that letter by the
    bit of case, none but the dash becomes a dash: of others (control bytes, `[`, the space) that is not true.
    """
    cdef Py_ssize_t i = 0
    if length >= 8:
        while i < length - 8:
            if lower_8(token + i) != lower_8(lower + i):
                return False
            i += 8
        return lower_8(token + length - 8) == lower_8(lower + length - 8)
    if length >= 4:
        return lower_4(token) == lower_4(lower) and lower_4(token + length - 4) == lower_4(lower + length - 4)
    while i < length:
        if token[i] | 0x20 != lower[i]:
            return False
        i += 1
    return True


cdef inline bytes span_bytes(Span span):
    return span.ptr[:span.len] if span.len else b""
