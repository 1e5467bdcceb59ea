# The body of a request, kept while it passes: to be sent again, or to others.

from libc.stdint cimport int64_t

from lbcore.http.span cimport Span
from lbcore.http.sink cimport Filter
from lbcore.state.budget cimport MemoryBudget


cdef class Owner:                      # one use that the body is kept for, and how much of it
    cdef int64_t limit                 # bytes; -1 = any number
    cdef bint overflowed               # the body is longer than this one may have, or there was no memory for it

    cdef bint admit(self, int64_t kept, int64_t more) noexcept
    cdef void starve(self) noexcept


cdef class Replay(Owner):              # a fallback that may be asked
    cdef MemoryBudget budget           # where bodies that are too long for it are counted
    cdef bint required                 # a body that is longer than `limit` is refused


cdef class Recording(Filter):
    cdef char* base                    # `room` bytes, charged to `budget`; freed with the last one that holds the Recording
    cdef Py_ssize_t room
    cdef Py_ssize_t size               # bytes kept
    cdef MemoryBudget budget
    cdef list owners                   # Owner
    cdef bint starved                  # for want of memory: nothing is kept
    cdef Py_ssize_t given              # bytes that went on to the sink behind it

    cdef bint join(self, Owner owner) except *
    cdef int leave(self, Owner owner) except -1
    cdef int add(self, Span data) except -1
    cdef bint grow(self, Py_ssize_t wanted) noexcept
    cdef void forget(self) noexcept

    cdef inline bint is_spent(self) noexcept:
        """Whether no owner is left."""
        return len(self.owners) == 0

    cdef inline bint is_behind(self) noexcept:
        """Whether the sink behind it has not been given all that is kept, and the end if that has come."""
        return self.given < self.size or self.complete != self.ended

    cdef inline Span part(self, Py_ssize_t offset, Py_ssize_t most) noexcept:
        """What is kept from `offset` on, `most` bytes of it. Valid until the next `add`."""
        cdef Span span
        span.ptr = self.base + offset
        span.len = min(self.size - offset, most)
        return span


cdef class RefusedBody:
    cdef MemoryBudget budget
    cdef bytes text
    cdef Py_ssize_t room               # that it has taken from the budget
