"""Answers of lbcore's own: the services `noop@internal` and `ping@internal`. No I/O."""

cimport cython

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport span_of
from lbcore.middleware.base cimport ANSWER, Context, Middleware


@cython.final
cdef class Respond(Middleware):
    """Answers every request with one status and text. `is_error`: as lbcore answers what no router takes."""

    cdef int status
    cdef bytes text
    cdef bint is_error

    def __init__(self, str name, int status, bytes text, bint is_error=False):
        self.name = name
        self.status = status
        self.text = text
        self.is_error = is_error

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        if self.is_error:
            answer.append(span_of(b"X-Content-Type-Options", 22), span_of(b"nosniff", 7))
        return respond(answer, self.status, self.text)


@cython.final
cdef class Ping(Middleware):
    """The answer to health checks of this instance: `OK` with 200, or with another status if it is about to stop, or fails by hand."""

    cdef int status

    def __init__(self, str name="ping@internal"):
        self.name = name
        self.status = 200

    def answer_with(self, int status) -> None:
        """From now on answer with `status`. Another one than 200 makes a load balancer in front take this instance out of rotation."""
        self.status = status

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        return respond(answer, self.status, b"OK")


cdef int respond(Response answer, int status, bytes text) except -1:
    answer.status = status
    answer.text = span_of(text, len(text))
    if text:
        answer.append(span_of(b"Content-Type", 12), span_of(b"text/plain; charset=utf-8", 25))
    return ANSWER
