"""A middleware for tests that asks a service about each request, as forward authentication does: it passes, or answers."""

from libc.stdint cimport int64_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport span_of
from lbcore.middleware.base cimport ANSWER, PASS, WAIT, Context, Middleware, Pending, Reply


cdef class Asking(Middleware):
    """200 from the service lets a request pass, with the answer's `X-User`; any other answer goes to the client as it is."""

    cdef str service_name
    cdef object service
    cdef public bytes sends
    cdef public int64_t limit_bytes
    cdef public int64_t timeout_ms
    cdef readonly list errors          # of the replies, in order

    def __init__(self, str name, str service_name):
        self.name = name
        self.service_name = service_name
        self.sends = b""
        self.limit_bytes = 1000
        self.timeout_ms = 20000
        self.errors = []

    def bind(self, find):
        self.service = find(self.service_name)

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Request own = Request()
        own.copy(request)
        if not self.sends:
            own.head.method = span_of(b"GET", 3)
            own.is_head = False
        context.ask(self.service, own, self.sends, self.limit_bytes, self.timeout_ms)
        return WAIT

    cdef int on_settled(self, Request request, Response answer, Context context, Pending pending) except -1:
        cdef Reply reply = <Reply>pending
        self.errors.append("late" if reply.expired else "long" if reply.overflowed else reply.error)
        if reply.response is None:
            answer.status = 500
            return ANSWER
        if reply.response.status == 200:
            request.add_own(span_of(b"X-User", 6), request.keep(reply.response.find(b"x-user", 6)))
            return PASS
        answer.status = reply.response.status
        answer.append(span_of(b"X-Asked", 7), answer.keep(reply.response.find(b"x-from", 6)))
        answer.text = answer.keep(reply.body)
        return ANSWER
