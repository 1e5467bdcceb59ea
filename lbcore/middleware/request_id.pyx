"""requestID: each request has an identifier, which servers and the client learn. No I/O.

It is 32 hexadecimal digits: of the request's `traceparent` (W3C Trace Context), or drawn at random.
"""

import os

cimport cython
from libc.stdint cimport uint8_t
from libc.string cimport memchr

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_of
from lbcore.middleware.base cimport PASS, Context, Middleware
from lbcore.middleware.identity cimport IdentityHeader

cdef enum:
    DIGITS = 32
    LONGEST = 128              # identifier of a client that is kept
    POOL_BYTES = 4096          # of random bytes that are drawn at once

cdef const char* HEX = b"0123456789abcdef"
cdef bytes pool = b""
cdef Py_ssize_t pool_used = 0


cdef int draw(char* out) except -1:
    """DIGITS of random hexadecimal digits."""
    global pool, pool_used
    cdef const uint8_t* data
    cdef int i
    if pool_used + DIGITS // 2 > len(pool):
        pool = os.urandom(POOL_BYTES)
        pool_used = 0
    data = <const uint8_t*><const char*>pool + pool_used
    pool_used += DIGITS // 2
    for i in range(DIGITS // 2):
        out[2 * i] = HEX[data[i] >> 4]
        out[2 * i + 1] = HEX[data[i] & 15]
    return 0


cdef inline bint is_hex(char c) noexcept nogil:
    return c"0" <= c <= c"9" or c"a" <= c <= c"f"


cdef Span trace_id(Span header) noexcept nogil:
    """The trace id of a valid `traceparent`; empty for any other text."""
    cdef Py_ssize_t i
    cdef bint zero = True, parent_zero = True
    cdef Span none = span_of(NULL, 0)
    if header.len < 55 or header.ptr[2] != c"-" or header.ptr[35] != c"-" or header.ptr[52] != c"-":
        return none
    for i in range(55):
        if i == 2 or i == 35 or i == 52:
            continue
        if not is_hex(header.ptr[i]):
            return none
        if 3 <= i < 35 and header.ptr[i] != c"0":
            zero = False
        if 36 <= i < 52 and header.ptr[i] != c"0":
            parent_zero = False
    if zero or parent_zero or (header.ptr[0] == c"f" and header.ptr[1] == c"f"):
        return none
    if header.len > 55 and (header.ptr[0] == c"0" and header.ptr[1] == c"0" or header.ptr[55] != c"-"):
        return none            # version 00 has nothing behind its flags
    return span_of(header.ptr + 3, DIGITS)


cdef bint is_identifier(Span value) noexcept nogil:
    """Whether a client's text is one: letters, digits, and what does no harm in logs."""
    cdef Py_ssize_t i
    cdef char c
    if value.len == 0 or value.len > LONGEST:
        return False
    for i in range(value.len):
        c = value.ptr[i]
        if not (c"a" <= c <= c"z" or c"A" <= c <= c"Z" or c"0" <= c <= c"9") and memchr(b"-_.:=+/@", c, 8) == NULL:
            return False
    return True


@cython.final
cdef class RequestID(Middleware):
    """Sets the header on the request, and on its answer."""

    cdef IdentityHeader header
    cdef bint trust
    cdef bint traceparent

    def __init__(self, str name, config):
        self.name = name
        self.header = IdentityHeader(config.header_name or "X-Request-Id")
        self.trust = config.trust
        self.traceparent = config.traceparent
        self.sees_answer = config.answer

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Span value = span_of(NULL, 0), given
        cdef char* drawn
        if self.trust:
            given = request.find(self.header.lower, len(self.header.lower))
            if is_identifier(given):
                value = given
        if value.len == 0 and self.traceparent:
            given = request.find(b"traceparent", 11)
            if given.len:
                value = trace_id(given)
        if value.len == 0:
            drawn = request.alloc(DIGITS)
            draw(drawn)
            value = span_of(drawn, DIGITS)
        self.header.remove(request)
        return self.header.add(request, value)

    cdef int on_response(self, Request request, Response answer, Context context) except -1:
        cdef Span value = request.find(self.header.lower, len(self.header.lower))
        if value.len:
            answer.drop(self.header.lower, len(self.header.lower))
            answer.append(span_of(self.header.name, len(self.header.name)), answer.keep(value))
        return PASS
