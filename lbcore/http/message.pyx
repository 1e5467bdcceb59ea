"""What a request head and an answer's head share. No I/O."""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc, realloc

from lbcore.http.arena cimport arena_alloc, arena_free, arena_reset
from lbcore.http.head cimport Header
from lbcore.http.known cimport H_DROPPED, header_kind
from lbcore.http.pico cimport PICO_PARTIAL, pico_parse_headers
from lbcore.http.span cimport Span, span_bytes, span_ieq, span_of

cdef enum:
    FIRST_CAPACITY = 32        # headers; doubled up to MAX_HEADERS when a message has more


cdef class Message:
    """The headers of one message. Kept and used again for message after message: see `clear`."""

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

    cdef void clear(self) noexcept:
        """Forget the message. Strings taken from `alloc` are gone."""
        self.n_headers = 0
        arena_reset(&self.arena)

    cdef char* alloc(self, Py_ssize_t size) except NULL:
        """Memory that lives until `clear`."""
        cdef char* found = arena_alloc(&self.arena, size)
        if found == NULL:
            raise MemoryError
        return found

    cdef int grow(self) noexcept:
        """Room for twice the headers. 0, or -1 at MAX_HEADERS or without memory."""
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

    cdef int append(self, Span name, Span value) except -1:
        """Add a header; the spans must live as long as the message. Raises MemoryError beyond MAX_HEADERS."""
        cdef Py_ssize_t n = self.n_headers
        if n == self.capacity and self.grow() < 0:
            raise MemoryError("too many headers")
        self.headers[n].name = name
        self.headers[n].value = value
        self.kinds[n] = header_kind(name)
        self.n_headers = n + 1
        return 0

    cdef Span find(self, const char* lower, Py_ssize_t length) noexcept:
        """The value of the first header of a name, given in lower case; a NULL pointer when there is none."""
        cdef Py_ssize_t i
        for i in range(self.n_headers):
            if self.kinds[i] != H_DROPPED and span_ieq(self.headers[i].name, lower, length):
                return self.headers[i].value
        return span_of(NULL, 0)

    cdef void drop(self, const char* lower, Py_ssize_t length) noexcept:
        """Take out every header of a name, given in lower case."""
        cdef Py_ssize_t i
        for i in range(self.n_headers):
            if span_ieq(self.headers[i].name, lower, length):
                self.drop_at(i)

    cdef void drop_at(self, Py_ssize_t index) noexcept:
        self.kinds[index] = H_DROPPED
        self.headers[index].name.len = 0       # so that no matcher finds it either

    cdef Py_ssize_t parse_trailers(self, const char* data, Py_ssize_t length, Py_ssize_t seen) noexcept:
        """Read the trailer section that follows a chunked body in place of the headers; `framing` stays.

        Returns its length with the empty line, HEAD_PARTIAL, or -1 when it is malformed or has too many lines.
        """
        cdef size_t count
        cdef Py_ssize_t i
        cdef int used
        while True:
            count = self.capacity
            used = pico_parse_headers(data, length, self.headers, &count, seen)
            if used == PICO_PARTIAL:
                return HEAD_PARTIAL
            if used > 0:
                break
            if count < <size_t>self.capacity or self.grow() < 0:
                return -1
        self.n_headers = count
        for i in range(self.n_headers):
            if self.headers[i].name.ptr == NULL:
                return -1
            self.kinds[i] = header_kind(self.headers[i].name)
        return used

    def header_list(self) -> list:
        """`(name, value)` pairs as bytes, for tests and tools."""
        cdef Py_ssize_t i
        return [(span_bytes(self.headers[i].name), span_bytes(self.headers[i].value)) for i in range(self.n_headers)]
