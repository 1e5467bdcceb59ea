"""The client's end of an exchange that lbcore itself begins, with the whole request in memory. No I/O."""

from lbcore.http.sink cimport Sink
from lbcore.http.span cimport Span
from lbcore.proxy.exchange cimport ClientStream

cdef enum:
    PART_BYTES = 65536         # bytes of a body put at once; the rest stays in the recording, which copies share


cdef class LocalStream(ClientStream):
    """Puts the body of a Recording to the server's end. Subclasses take the answer."""

    cdef int want_body(self) except -1:
        cdef Sink sink = self.exchange.request_sink
        cdef Span part
        cdef int status
        if sink is None or self.body_sent or sink.blocked:
            return 0
        while self.body is not None and self.sent_bytes < self.body.size:
            part = self.body.part(self.sent_bytes, PART_BYTES)
            self.sent_bytes += part.len
            status = sink.put(part)
            if status:
                return self.exchange.body_refused(status)
            if sink.blocked:
                return 0
        if self.body is not None:
            self.body_sent = True
            return self.exchange.request_end(None)
        return sink.flush()

    cdef int rewind(self) except -1:
        self.sent_bytes = 0
        self.body_sent = False
        return 0
