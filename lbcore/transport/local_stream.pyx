"""The client's end of an exchange that lbcore makes for itself: the whole request is in memory. No I/O."""

from lbcore.http.sink cimport Sink
from lbcore.http.span cimport Span
from lbcore.proxy.exchange cimport ClientStream

cdef enum:
    PART_BYTES = 65536         # of a body, put at once: what the server does not take stays in the recording, which is shared


cdef class LocalStream(ClientStream):
    """Gives the body of a Recording to the server. What takes the answer derives from it."""

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
