"""Requests that have come from the very router to which they come again, by way of a server, are refused. No I/O.

A default rule makes a router of each container, also of one that sends requests back to this instance. Servers of such a router
are told its name, as a hash, in X-Traefik-Router.
"""

cimport cython

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_eq, span_of
from lbcore.middleware.base cimport ANSWER, PASS, Context, Middleware
from lbcore.middleware.identity cimport IdentityHeader

HEADER = "X-Traefik-Router"
FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


def hash_of(router: str) -> bytes:
    """The hash of a router's name: FNV-1 of 64 bits, in hexadecimal digits without leading zeros."""
    value = FNV_OFFSET
    for byte in router.encode():
        value = value * FNV_PRIME & 0xFFFFFFFFFFFFFFFF ^ byte
    return b"%x" % value


@cython.final
cdef class RefuseRecursion(Middleware):
    """Answers 400 to a request with the hash of the router, and gives others to servers with it."""

    cdef IdentityHeader header
    cdef bytes value

    def __init__(self, str router):
        self.name = HEADER
        self.header = IdentityHeader(HEADER)
        self.value = hash_of(router)

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Span given = request.find(self.header.lower, len(self.header.lower))
        if span_eq(given, self.value, len(self.value)):
            answer.status = 400
            answer.text = span_of(NULL, 0)
            return ANSWER
        self.header.put(request, self.value)
        return PASS
