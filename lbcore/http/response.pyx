"""Parse and validate the head of a server's answer (RFC 9112 section 4). No I/O."""

cimport cython

from lbcore.http.framing cimport frame_response
from lbcore.http.lenient cimport MEND_PARTIAL, MENDED, mend_names
from lbcore.http.pico cimport PICO_PARTIAL, pico_parse_response
from lbcore.http.message cimport HEAD_PARTIAL, MAX_HEADER_LINES, Message
from lbcore.http.span cimport Span, span_bytes, span_of

cdef enum:
    MAX_HEAD_BYTES = 1048576   # of an answer


@cython.final
cdef class Response(Message):
    """One answer's head."""

    def __cinit__(self):
        self.mends = True

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
            self.trailers.mends = True
        return self.trailers

    cdef Py_ssize_t parse(self, const char* data, Py_ssize_t length, Py_ssize_t seen, bint head_request) noexcept:
        """Read a head from the front of `data`, which is not referred to afterwards. The answer must be a cleared one.

        Returns the head's length; HEAD_PARTIAL when it is not complete; -502 for one that is malformed, too large, or
        framed so that it can be read in two ways.
        """
        cdef Py_ssize_t used = self.read_lines(data, length, seen), whole = 0
        cdef Span mended
        cdef int result
        if used < 0:
            result = mend_names(data, length, True, &self.arena, &mended, &whole)
            if result == MEND_PARTIAL:
                used = HEAD_PARTIAL
            elif result == MENDED and self.read_lines(mended.ptr, mended.len, 0) > 0:
                used = whole
        if used == HEAD_PARTIAL and length < MAX_HEAD_BYTES:
            return HEAD_PARTIAL
        if used <= 0 or frame_response(self.headers, self.kinds, self.n_headers, self.minor_version, self.status,
                                       head_request, &self.framing):
            return -502
        return used

    cdef Py_ssize_t read_lines(self, const char* data, Py_ssize_t length, Py_ssize_t seen) noexcept:
        """Read the status line and the headers, as far as they need not be mended.

        Returns the head's length; HEAD_PARTIAL when it is not complete; -1 for one that is malformed or too large.
        """
        cdef size_t count, reason_len = 0
        cdef const char* reason
        cdef const char* own
        cdef int used, status = 0, minor_version = 0
        while True:
            count = self.capacity
            used = pico_parse_response(data, length, &minor_version, &status, &reason, &reason_len,
                                       self.headers, &count, seen)
            if used == PICO_PARTIAL:
                return HEAD_PARTIAL
            if used > 0:
                break
            if count < <size_t>self.capacity or self.capacity > MAX_HEADER_LINES or self.grow() < 0:
                return -1
        if used > MAX_HEAD_BYTES or count > MAX_HEADER_LINES or not 100 <= status <= 999:
            return -1
        self.n_headers = count
        own = self.own(data, used)
        if own == NULL or self.join_lines() < 0:
            self.n_headers = 0
            return -1
        self.status = status
        self.minor_version = minor_version
        self.reason = span_of(own + (reason - data), reason_len)
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
