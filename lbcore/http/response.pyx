"""Parse and validate the head of a server's answer (RFC 9112 section 4). No I/O."""

cimport cython

from lbcore.http.framing cimport frame_response
from lbcore.http.known cimport header_kind
from lbcore.http.pico cimport PICO_PARTIAL, pico_parse_response
from lbcore.http.message cimport HEAD_PARTIAL, MAX_HEADER_LINES, Message
from lbcore.http.span cimport Span, span_bytes, span_of

cdef enum:
    MAX_HEAD_BYTES = 1048576   # of an answer


@cython.final
cdef class Response(Message):
    """One answer's head."""

    cdef void clear(self) noexcept:
        """Forget the answer, all of it."""
        Message.clear(self)
        self.status = 0
        self.minor_version = 0
        if self.trailers is not None:
            self.trailers.clear()
        self.reason = span_of(NULL, 0)
        self.text = span_of(NULL, 0)

    cdef Message trailer_section(self):
        """Where a trailer section is parsed into; the headers stay what they are."""
        if self.trailers is None:
            self.trailers = Message()
        return self.trailers

    cdef Py_ssize_t parse(self, const char* data, Py_ssize_t length, Py_ssize_t seen, bint head_request) noexcept:
        """Read a head from the front of `data`, which is not referred to afterwards. The answer must be a cleared one.

        Returns the head's length; HEAD_PARTIAL when it is not complete; -502 for one that is malformed, too large, or
        framed so that it can be read in two ways.
        """
        cdef size_t count, reason_len = 0
        cdef const char* reason
        cdef const char* own
        cdef int used, status = 0, minor_version = 0
        cdef Py_ssize_t i
        while True:
            count = self.capacity
            used = pico_parse_response(data, length, &minor_version, &status, &reason, &reason_len,
                                       self.headers, &count, seen)
            if used == PICO_PARTIAL:
                return HEAD_PARTIAL if length < MAX_HEAD_BYTES else -502
            if used > 0:
                break
            if count < <size_t>self.capacity or self.capacity > MAX_HEADER_LINES or self.grow() < 0:
                return -502
        if used > MAX_HEAD_BYTES or count > MAX_HEADER_LINES or not 100 <= status <= 999:
            return -502
        for i in range(<Py_ssize_t>count):
            if self.headers[i].name.ptr == NULL:
                return -502        # a folded line
            self.kinds[i] = header_kind(self.headers[i].name)
        self.n_headers = count
        own = self.own(data, used)
        if own == NULL:
            self.n_headers = 0
            return -502
        self.status = status
        self.minor_version = minor_version
        self.reason = span_of(own + (reason - data), reason_len)
        if frame_response(self.headers, self.kinds, self.n_headers, self.minor_version, self.status, head_request,
                          &self.framing):
            return -502
        return used

    # The rest serves tests and tools: the data plane never calls it.

    def parse_bytes(self, data: bytes, *, head_request: bool = False) -> int:
        """Parse as the data plane does. See `parse` for the result."""
        self.clear()
        return self.parse(data, len(data), 0, head_request)

    def describe(self) -> dict:
        """What was read, for tests."""
        return {
            "status": self.status,
            "reason": span_bytes(self.reason),
            "version": self.minor_version,
            "headers": self.header_list(),
            "body": self.framing.body,
            "length": self.framing.length,
            "keep_alive": self.framing.keep_alive,
        }
