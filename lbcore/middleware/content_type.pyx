"""contentType: give an answer without Content-Type the one that its first bytes suggest. No I/O."""

cimport cython

from lbcore.http.framing cimport BODY_NONE
from lbcore.http.message cimport Message
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.sink cimport Filter
from lbcore.http.span cimport Span, span_bytes, span_of
from lbcore.middleware.base cimport PASS, Context, Middleware

from lbcore.middleware.sniff import SNIFFED_BYTES, type_of


@cython.final
cdef class Sniffer(Filter):
    """Holds the head back until the first bytes of the body have come, which it keeps until they may follow."""

    cdef Context context               # the exchange, which outlives the filter's use; None when the head was released
    cdef Response response             # its answer
    cdef bytes kept                    # None: nothing

    cdef int put(self, Span data) except -1:
        if not self.holds:
            return Filter.put(self, data)
        if data.len:
            self.kept = span_bytes(data) if self.kept is None else self.kept + span_bytes(data)
        if data.len and self.context is not None:
            self.name_type(span_of(data.ptr, min(data.len, <Py_ssize_t>SNIFFED_BYTES)))
        return 0

    cdef int give(self) except -1:
        cdef bytes kept = self.kept
        cdef int status
        if kept is None:
            return 0
        self.kept = None
        status = self.next.put(span_of(kept, len(kept)))
        return status if status else 1

    cdef int end(self, Message trailers) except -1:
        if self.context is not None:
            self.release()
        return Filter.end(self, trailers)

    cdef int name_type(self, Span data) except -1:
        """Set the type of a content that begins with `data`, and send the head."""
        cdef bytes found = type_of(span_bytes(data)).encode()
        self.response.append(span_of(b"Content-Type", 12), self.response.keep(span_of(found, len(found))))
        return self.release()

    cdef int release(self) except -1:
        cdef Context context = self.context
        self.context = None
        self.response = None
        return context.release_head()


@cython.final
cdef class ContentType(Middleware):
    """The `contentType` middleware of Traefik. Content that is encoded, and that without body, is left alone, as in Go."""

    def __init__(self, str name, config):
        self.name = name
        self.sees_answer = config.auto_detect is not False

    cdef int on_response(self, Request request, Response answer, Context context) except -1:
        cdef Sniffer filter
        if answer.framing.body == BODY_NONE or answer.status < 200 or answer.find(b"content-type", 12).ptr != NULL \
                or answer.find(b"content-encoding", 16).len > 0:
            return PASS
        filter = Sniffer.__new__(Sniffer)
        filter.context = context
        filter.response = answer
        context.add_answer_filter(filter)
        context.hold_head()
        return PASS
