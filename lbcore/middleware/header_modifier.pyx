"""requestHeaderModifier, responseHeaderModifier (extensions): set, add and remove headers, in this order. No I/O."""

cimport cython

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_of
from lbcore.middleware.base cimport PASS, Context, Middleware


cdef class Entry:
    """A header. The spans are of the bytes beside them."""

    cdef bytes name_bytes
    cdef bytes lower_bytes
    cdef bytes value_bytes
    cdef Span name
    cdef Span lower
    cdef Span value

    def __init__(self, str name, str value):
        self.name_bytes = name.encode()
        self.lower_bytes = self.name_bytes.lower()
        self.value_bytes = value.strip().encode()
        self.name = span_of(self.name_bytes, len(self.name_bytes))
        self.lower = span_of(self.lower_bytes, len(self.lower_bytes))
        self.value = span_of(self.value_bytes, len(self.value_bytes))


def entries(config) -> tuple:
    """What to set, to add and to remove."""
    return (
        [Entry(name, value) for name, value in config.set.items()],
        [Entry(name, value) for name, value in config.add.items()],
        [Entry(name, "") for name in config.remove],
    )


@cython.final
cdef class RequestHeaderModifier(Middleware):
    """Of requests."""

    cdef list sets
    cdef list adds
    cdef list removes

    def __init__(self, str name, config):
        self.name = name
        self.sets, self.adds, self.removes = entries(config)

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Entry entry
        cdef Span nothing = span_of(NULL, 0)
        for item in self.sets:
            entry = <Entry>item
            request.set_header(entry.name, entry.lower, entry.value)
        for item in self.adds:
            entry = <Entry>item
            request.add_own(entry.name, entry.value)
        for item in self.removes:
            entry = <Entry>item
            request.set_header(entry.name, entry.lower, nothing)
        return PASS


@cython.final
cdef class ResponseHeaderModifier(Middleware):
    """Of answers."""

    cdef list sets
    cdef list adds
    cdef list removes

    def __init__(self, str name, config):
        self.name = name
        self.sees_answer = True
        self.sets, self.adds, self.removes = entries(config)

    cdef int on_response(self, Request request, Response response, Context context) except -1:
        cdef Entry entry
        for item in self.sets:
            entry = <Entry>item
            response.drop(entry.lower.ptr, entry.lower.len)
            response.append(entry.name, entry.value)
        for item in self.adds:
            entry = <Entry>item
            response.append(entry.name, entry.value)
        for item in self.removes:
            entry = <Entry>item
            response.drop(entry.lower.ptr, entry.lower.len)
        return PASS
