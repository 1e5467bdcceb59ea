"""Parse and validate the head of a server's answer (RFC 9112 section 4). No I/O."""

cimport cython

from lbcore.http.framing cimport frame_response
from lbcore.http.known cimport header_kind
from lbcore.http.pico cimport PICO_PARTIAL, pico_parse_response
from lbcore.http.message cimport HEAD_PARTIAL, Message
from lbcore.http.span cimport Span, span_bytes, span_of

cdef enum:
    MAX_HEAD_BYTES = 1048576   # of an answer


@cython.final
cdef class Response(Message):
    """One answer's head."""

    cdef void clear(self) noexcept:
        """Forget the answer, its text too."""
        Message.clear(self)
        self.reason = span_of(NULL, 0)
        self.text = span_of(NULL, 0)

    cdef Py_ssize_t parse(self, const char* data, Py_ssize_t length, Py_ssize_t seen, bint head_request) noexcept:
        """Read a head from the front of `data`.

        Returns the head's length; HEAD_PARTIAL when it is not complete; minus the status to answer with instead
        (500 for a malformed head, as Traefik does; 502 for framing that can be read in two ways).
        """
        cdef size_t count, reason_len = 0
        cdef const char* reason
        cdef int used
        cdef Py_ssize_t i
        while True:
            count = self.capacity
            used = pico_parse_response(data, length, &self.minor_version, &self.status, &reason, &reason_len,
                                       self.headers, &count, seen)
            if used == PICO_PARTIAL:
                return HEAD_PARTIAL if length < MAX_HEAD_BYTES else -500
            if used > 0:
                break
            if count < <size_t>self.capacity or self.grow() < 0:
                return -500
        self.reason = span_of(reason, reason_len)
        self.n_headers = count
        if not 100 <= self.status <= 999:
            return -500
        for i in range(self.n_headers):
            if self.headers[i].name.ptr == NULL:
                return -500
            self.kinds[i] = header_kind(self.headers[i].name)
        if frame_response(self.headers, self.kinds, self.n_headers, self.minor_version, self.status, head_request,
                          &self.framing):
            return -502
        return used

    # The rest serves tests and tools: the data plane never calls it.

    def parse_bytes(self, data: bytes, *, head_request: bool = False) -> int:
        """Parse as the data plane does. `data` must stay alive as long as the answer is read. See `parse` for the result."""
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
