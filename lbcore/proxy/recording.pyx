"""The body of a request, kept while it passes. No I/O."""

cimport cython
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from lbcore.http.span cimport Span

cdef enum:
    FIRST_BYTES = 4096


@cython.final
cdef class Recording:
    """Bytes in order, up to `limit`; a longer body is let go as soon as that is known."""

    def __cinit__(self, int64_t limit=-1):
        self.limit = limit

    def __dealloc__(self):
        free(self.base)

    cdef int add(self, Span data) except -1:
        """Keep some more. Amortised O(bytes)."""
        cdef Py_ssize_t room
        cdef char* moved
        if self.lost:
            return 0
        if self.limit >= 0 and self.size + data.len > self.limit:
            self.forget()
            return 0
        if self.size + data.len > self.room:
            room = max(FIRST_BYTES, 2 * self.room, self.size + data.len)
            moved = <char*>realloc(self.base, room)
            if moved == NULL:
                self.forget()
                return 0
            self.base = moved
            self.room = room
        memcpy(self.base + self.size, data.ptr, data.len)
        self.size += data.len
        return 0

    cdef void forget(self) noexcept:
        """It is too long: keep nothing of it."""
        free(self.base)
        self.base = NULL
        self.room = self.size = 0
        self.lost = True
