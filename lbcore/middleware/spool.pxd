# A filter that passes nothing on before the whole body has come: in memory up to a limit, beyond in a file.

from libc.stdint cimport int64_t

from lbcore.http.sink cimport Filter
from lbcore.middleware.base cimport Context, Pending
from lbcore.state.budget cimport MemoryBudget


cdef class Spool(Filter):
    cdef MemoryBudget budget   # that `room` is charged to
    cdef char* base            # `room` bytes, owned; the front of the body
    cdef Py_ssize_t room
    cdef int64_t memory_bytes  # most that may lie there
    cdef int64_t most_bytes    # of the body; 0 = any number
    cdef int refusal           # the status for a longer one
    cdef int64_t size          # of what has come
    cdef int64_t given         # bytes that the sink behind has been given
    cdef int file              # without a name, owned; -1 = none. What lies behind the front

    cdef int lack(self, error) except -1
    cdef int keep(self, const char* data, Py_ssize_t length) except -1
    cdef bint grow(self, Py_ssize_t wanted) noexcept
    cdef int write(self, const char* data, Py_ssize_t length) except -1
    cdef int whole(self) except -1
    cdef bytes contents(self)


cdef class WholeBody(Pending):         # the wait until a request is complete
    pass


cdef class RequestSpool(Spool):
    cdef WholeBody pending             # settled when the body has come; None afterwards

    cdef int wait(self, Context context, int64_t memory_bytes, int64_t most_bytes, int refusal) except -1
