"""The base of request heads, answer heads and trailer sections: headers, whose bytes the message owns. No I/O."""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcpy, memset

from lbcore.http.arena cimport arena_alloc, arena_free, arena_reset
from lbcore.http.framing cimport value_lists
from lbcore.http.head cimport Header
from lbcore.http.known cimport H_DROPPED, H_FOLDED, header_kind
from lbcore.http.lenient cimport REPAIR_PARTIAL, REPAIRED, repair_names, unfold
from lbcore.http.pico cimport PICO_PARTIAL, pico_parse_headers
from lbcore.http.span cimport Span, span_bytes, span_ieq, span_of

cdef enum:
    FIRST_CAPACITY = 32        # headers; doubled when a message needs more
    KEPT_CAPACITY = 256        # headers for which a cleared message keeps memory


cdef class Message:
    """The headers of one message. The object is reused for further messages: see `clear`."""

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
        """Remove all of the message, so that nothing of it is visible to the next user. Its spans become invalid."""
        self.n_headers = 0
        memset(&self.framing, 0, sizeof(self.framing))
        arena_reset(&self.arena)
        if self.capacity > KEPT_CAPACITY:
            self.shrink()

    cdef char* alloc(self, Py_ssize_t size) except NULL:
        """Memory that is valid until `clear`. Raises MemoryError."""
        cdef char* found = arena_alloc(&self.arena, size)
        if found == NULL:
            raise MemoryError
        return found

    cdef int grow(self) noexcept:
        """Double the room for headers. Returns 0, or -1 without memory."""
        cdef Py_ssize_t capacity = self.capacity * 2
        cdef void* moved
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

    cdef void shrink(self) noexcept:
        """Release the memory that a message with very many headers has needed."""
        cdef void* moved = realloc(self.headers, FIRST_CAPACITY * sizeof(Header))
        if moved != NULL:
            self.headers = <Header*>moved
            self.capacity = FIRST_CAPACITY
        moved = realloc(self.kinds, self.capacity)
        if moved != NULL:
            self.kinds = <uint8_t*>moved

    cdef const char* own(self, const char* data, Py_ssize_t length) noexcept:
        """Copy the parsed text into the arena, point the headers to the copy, and fill `kinds`. NULL without memory. O(length).

        A folded line has no name, and no kind: `join_lines` and `Request.classify` look for it.
        """
        cdef char* copy = arena_alloc(&self.arena, length)
        cdef Py_ssize_t i, moved
        cdef Header* header
        if copy == NULL:
            return NULL
        memcpy(copy, data, length)
        moved = copy - data
        for i in range(self.n_headers):
            header = &self.headers[i]
            header.value.ptr += moved
            if header.name.ptr == NULL:
                self.kinds[i] = H_FOLDED
            else:
                header.name.ptr += moved
                self.kinds[i] = header_kind(header.name)
        return copy

    cdef Span keep(self, Span span) except *:
        """A copy in the message's own memory, valid until `clear`. Raises MemoryError."""
        cdef char* out
        if span.len == 0:
            return span_of(NULL, 0)
        out = self.alloc(span.len)
        memcpy(out, span.ptr, span.len)
        return span_of(out, span.len)

    cdef int append(self, Span name, Span value) except -1:
        """Add a header; its spans must stay valid until `clear`. The limit of lines is the parser's alone. Raises MemoryError."""
        cdef Py_ssize_t n = self.n_headers
        if n == self.capacity and self.grow() < 0:
            raise MemoryError
        self.headers[n].name = name
        self.headers[n].value = value
        self.kinds[n] = header_kind(name)
        self.n_headers = n + 1
        return 0

    cdef Span find(self, const char* lower, Py_ssize_t length) noexcept:
        """The value of the first header with a name, given in lower case; a NULL pointer if there is none."""
        cdef Py_ssize_t i
        for i in range(self.n_headers):
            if self.kinds[i] != H_DROPPED and span_ieq(self.headers[i].name, lower, length):
                return self.headers[i].value
        return span_of(NULL, 0)

    cdef bint lists(self, const char* lower, Py_ssize_t length, Span token) noexcept:
        """Whether a header with a name, given in lower case, lists a token, or `*`."""
        cdef Py_ssize_t i
        for i in range(self.n_headers):
            if self.kinds[i] != H_DROPPED and span_ieq(self.headers[i].name, lower, length) \
                    and (value_lists(self.headers[i].value, token) or value_lists(self.headers[i].value, span_of(b"*", 1))):
                return True
        return False

    cdef void drop(self, const char* lower, Py_ssize_t length) noexcept:
        """Remove every header with a name, given in lower case."""
        cdef Py_ssize_t i
        for i in range(self.n_headers):
            if span_ieq(self.headers[i].name, lower, length):
                self.drop_at(i)

    cdef void drop_at(self, Py_ssize_t index) noexcept:
        self.kinds[index] = H_DROPPED
        self.headers[index].name.len = 0       # so that no matcher finds it

    cdef Py_ssize_t parse_trailers(self, const char* data, Py_ssize_t length, Py_ssize_t seen) noexcept:
        """Parse the trailer section at the front of `data`.

        seen     number of bytes of `data` that an earlier call was given already.
        Returns  its length with the empty line, HEAD_PARTIAL, or -1 if it is malformed or has too many lines.
        """
        cdef Py_ssize_t used = self.read_trailers(data, length, seen), whole = 0
        cdef Span repaired
        cdef int result
        if used >= 0 or not self.repairs:
            return used
        result = repair_names(data, length, False, &self.arena, &repaired, &whole)
        if result == REPAIR_PARTIAL:
            return HEAD_PARTIAL
        return whole if result == REPAIRED and self.read_trailers(repaired.ptr, repaired.len, 0) > 0 else -1

    cdef Py_ssize_t read_trailers(self, const char* data, Py_ssize_t length, Py_ssize_t seen) noexcept:
        """`parse_trailers` for lines that need no repair."""
        cdef size_t count
        cdef int used
        while True:
            count = self.capacity
            # With `seen` bytes the parser looks for an empty line behind other lines, which an empty section does not have.
            used = pico_parse_headers(data, length, self.headers, &count, seen if seen > 2 else 0)
            if used == PICO_PARTIAL:
                return HEAD_PARTIAL
            if used > 0:
                break
            if count < <size_t>self.capacity or self.capacity > MAX_HEADER_LINES or self.grow() < 0:
                return -1
        if count > MAX_HEADER_LINES:
            return -1
        self.n_headers = count
        if self.own(data, used) == NULL or self.join_lines() < 0:
            self.n_headers = 0
            return -1
        return used

    cdef int join_lines(self) noexcept:
        """Join folded lines. Returns 0, or -1 without memory or for a folded line that is not allowed."""
        cdef Py_ssize_t i
        if self.n_headers == 0 or memchr(self.kinds, H_FOLDED, self.n_headers) == NULL:
            return 0
        if not self.repairs or unfold(self.headers, &self.n_headers, &self.arena) < 0:
            return -1
        for i in range(self.n_headers):
            self.kinds[i] = header_kind(self.headers[i].name)
        return 0

    def header_list(self) -> list:
        """`(name, value)` pairs as bytes, for tests and tools."""
        cdef Py_ssize_t i
        return [(span_bytes(self.headers[i].name), span_bytes(self.headers[i].value)) for i in range(self.n_headers)]
