"""Parse and validate the head of a server's answer (RFC 9112 section 4). No I/O."""

cimport cython
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc, realloc

from lbcore.http.arena cimport arena_alloc, arena_free, arena_reset
from lbcore.http.framing cimport frame_response
from lbcore.http.head cimport Header
from lbcore.http.known cimport header_kind
from lbcore.http.pico cimport PICO_PARTIAL, pico_parse_response
from lbcore.http.request cimport HEAD_PARTIAL, MAX_HEADERS
from lbcore.http.span cimport Span, span_bytes, span_of

cdef enum:
    FIRST_CAPACITY = 32        # headers; doubled up to MAX_HEADERS
    MAX_HEAD_BYTES = 1048576   # of an answer


@cython.final
cdef class Response:
    """One answer's head. Kept and used again for answer after answer: see `reset`."""

    def __cinit__(self):
        self.capacity = FIRST_CAPACITY
        self.headers = <Header*>malloc(FIRST_CAPACITY * sizeof(Header))
        self.kinds = <uint8_t*>malloc(FIRST_CAPACITY)
        if self.headers == NULL or self.kinds == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.headers)
        free(self.kinds)
        arena_free(&self.arena)

    cdef void reset(self) noexcept:
        self.n_headers = 0
        self.status = 0
        arena_reset(&self.arena)

    cdef char* alloc(self, Py_ssize_t size) except NULL:
        cdef char* found = arena_alloc(&self.arena, size)
        if found == NULL:
            raise MemoryError
        return found

    cdef int grow(self) noexcept:
        """Room for twice the headers. 0, or -1 at the limit or without memory."""
        cdef Py_ssize_t capacity = self.capacity * 2
        cdef void* moved
        if capacity > MAX_HEADERS:
            return -1
        moved = realloc(self.headers, capacity * sizeof(Header))
        if moved == NULL:
            return -1
        self.headers = <Header*>moved
        moved = realloc(self.kinds, capacity)
        if moved == NULL:
            return -1
        self.kinds = <uint8_t*>moved
        self.capacity = capacity
        return 0

    cdef int add_header(self, Span name, Span value) except -1:
        """Append a header; the spans must live as long as the answer. Raises MemoryError beyond MAX_HEADERS."""
        cdef Py_ssize_t n = self.n_headers
        if n == self.capacity and self.grow() < 0:
            raise MemoryError("too many headers")
        self.headers[n].name = name
        self.headers[n].value = value
        self.kinds[n] = header_kind(name)
        self.n_headers = n + 1
        return 0

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
        self.reset()
        return self.parse(data, len(data), 0, head_request)

    def describe(self) -> dict:
        """What was read, for tests."""
        cdef Py_ssize_t i
        return {
            "status": self.status,
            "reason": span_bytes(self.reason),
            "version": self.minor_version,
            "headers": [(span_bytes(self.headers[i].name), span_bytes(self.headers[i].value))
                        for i in range(self.n_headers)],
            "body": self.framing.body,
            "length": self.framing.length,
            "keep_alive": self.framing.keep_alive,
        }
