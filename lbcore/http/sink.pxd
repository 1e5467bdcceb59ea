# What takes the body of a message: an end of an exchange, or a filter in front of one.

from libc.stdint cimport int64_t

from lbcore.http.message cimport Message
from lbcore.http.span cimport Span


cdef class Sink:
    cdef bint blocked          # what was put has not gone out: put no more until the source is told to go on
    cdef int splice_fd         # descriptor that takes body bytes as they are, owned by the sink; -1: all must go through `put`

    cdef int put(self, Span data) except -1
    cdef int end(self, Message trailers) except -1
    cdef int flush(self) except -1
    cdef int drained(self) except -1
    cdef void spliced(self, int64_t count) noexcept
    cdef void wait_for_output(self) noexcept
    cdef void write_failed(self) noexcept


cdef class Filter(Sink):
    cdef Sink next             # where the body goes on to; None while that is not known
    cdef Py_ssize_t step       # of the middleware that added it, among all that the message passes
    cdef bint complete         # `end` was called
    cdef bint ended            # and so was that of `next`
    cdef Message trailers      # of a complete body, the exchange's; None = it has none

    cdef void connect(self, Sink next) noexcept
    cdef int give(self) except -1
    cdef int go_on(self) except -1
