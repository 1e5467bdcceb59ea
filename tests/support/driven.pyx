"""A middleware without a proxy around it: exchanges that begin and end when the test says, in as many workers as it has States."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from lbcore.http.head cimport ClientAddress
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.middleware.base cimport ANSWER, PASS, WAIT, Context, Middleware, Pending


cdef class Driven(Context):
    """One exchange, which passes one middleware, at a router or service of a name."""

    cdef Middleware middleware
    cdef Request request
    cdef Response response
    cdef ClientAddress client
    cdef str where
    cdef uint64_t time_ns
    cdef readonly int64_t waits_ms     # 0 = it does not wait

    def __init__(self, Middleware middleware, str where, bytes key):
        self.middleware = middleware
        self.where = where
        self.request = Request()
        self.response = Response()
        memset(&self.client, 0, sizeof(self.client))
        self.request.parse_bytes(b"GET / HTTP/1.1\r\nHost: a\r\nX-Key: " + key + b"\r\n\r\n")
        self.request.set_client(&self.client)

    cdef str place(self):
        return self.where

    cdef uint64_t now_ns(self) noexcept:
        return self.time_ns

    cdef int wait(self, Pending pending, int64_t timeout_ms) except -1:
        self.waits_ms = timeout_ms
        return 0

    cdef list attempts_made(self):
        return []

    def begin(self, uint64_t now_ns) -> int:
        """The status of the answer that the middleware gives; 0: it passes the request, or has it wait."""
        self.time_ns = now_ns
        verdict = self.middleware.on_request(self.request, self.response, self)
        assert (verdict == WAIT) == (self.waits_ms > 0) and verdict in (PASS, ANSWER, WAIT)
        return self.response.status if verdict == ANSWER else 0

    def end(self, uint64_t now_ns, int status) -> None:
        """The exchange has ended with a status. Not for one that the middleware has answered."""
        self.time_ns = now_ns
        if self.middleware.sees_end:
            self.middleware.on_end(self.request, status, self)
