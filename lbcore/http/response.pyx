"""Parsing and validation of the head of a server's answer (RFC 9112 section 4). No I/O."""

cimport cython

from lbcore.http.framing cimport frame_response
from lbcore.http.lenient cimport REPAIR_PARTIAL, REPAIRED, repair_names
from lbcore.http.pico cimport PICO_PARTIAL, pico_parse_response
from lbcore.http.message cimport HEAD_PARTIAL, MAX_HEADER_LINES, Message
from lbcore.http.span cimport Span, span_bytes, span_of

cdef enum:
    MAX_HEAD_BYTES = 1048576   # limit of an answer's head


@cython.final
cdef class Response(Message):
    """The head of one answer."""

    def __cinit__(self):
        self.repairs = True

    cdef void clear(self) noexcept:
        """Remove all of the answer: until the next `parse`, every field is empty."""
        Message.clear(self)
        self.status = 0
        self.minor_version = 0
        if self.trailers is not None:
            self.trailers.clear()
        self.reason = span_of(NULL, 0)
        self.text = span_of(NULL, 0)

    cdef Message trailer_section(self):
        """The message for the trailer section, owned by the answer and cleared with it."""
        if self.trailers is None:
            self.trailers = Message()
            self.trailers.repairs = True
        return self.trailers

    cdef Py_ssize_t parse(self, const char* data, Py_ssize_t length, Py_ssize_t seen, bint head_request) noexcept:
        """Parse a head from the front of `data`, to which nothing refers afterwards. The answer must be cleared.

        Returns the head's length; HEAD_PARTIAL if it is not complete; -502 if it is malformed or too large, or if its framing can be
        read in two ways.
        """
        cdef Py_ssize_t used = self.read_lines(data, length, seen), whole = 0
        cdef Span repaired
        cdef int result
        if used < 0:
            result = repair_names(data, length, True, &self.arena, &repaired, &whole)
            if result == REPAIR_PARTIAL:
                used = HEAD_PARTIAL
            elif result == REPAIRED and self.read_lines(repaired.ptr, repaired.len, 0) > 0:
                used = whole
        if used == HEAD_PARTIAL and length < MAX_HEAD_BYTES:
            return HEAD_PARTIAL
        if used <= 0 or frame_response(self.headers, self.kinds, self.n_headers, self.minor_version, self.status,
                                       head_request, &self.framing):
            return -502
        return used

    cdef Py_ssize_t read_lines(self, const char* data, Py_ssize_t length, Py_ssize_t seen) noexcept:
        """Parse the status line and the headers, which need no repair.

        Returns the head's length; HEAD_PARTIAL if it is not complete; -1 if it is malformed or too large.
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

    # For tests and tools; the data plane does not call these.

    def parse_bytes(self, data: bytes, *, head_request: bool = False) -> int:
        """`parse` for Python."""
        self.clear()
        return self.parse(data, len(data), 0, head_request)

    def describe(self) -> dict:
        """The parsed fields."""
        return {
            "status": self.status,
            "reason": span_bytes(self.reason),
            "version": self.minor_version,
            "headers": self.header_list(),
            "body": self.framing.body,
            "length": self.framing.length,
            "keep_alive": self.framing.keep_alive,
        }
