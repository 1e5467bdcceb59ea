"""Answers of lbcore's own: the services `noop@internal` and `ping@internal`. No I/O."""

cimport cython

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport span_of
from lbcore.middleware.base cimport Middleware


@cython.final
cdef class Respond(Middleware):
    """Answers every request with one status and text."""

    cdef int status
    cdef bytes text

    def __init__(self, str name, int status, bytes text):
        self.name = name
        self.status = status
        self.text = text

    cdef bint on_request(self, Request request, Response answer) except *:
        answer.status = self.status
        answer.text = span_of(self.text, len(self.text))
        if self.text:
            answer.append(span_of(b"Content-Type", 12), span_of(b"text/plain; charset=utf-8", 25))
        return True
