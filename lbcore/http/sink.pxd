# Sinks, which take the body of a message: an end of an exchange, or a filter in front of one.

from libc.stdint cimport int64_t

from lbcore.http.message cimport Message
from lbcore.http.span cimport Span


cdef class Sink:
    cdef bint blocked          # the sink cannot take more now: nothing may be put until the exchange resumes the source
    cdef bint large_pieces     # a call costs it so much that a long body had better come in few of them
    cdef int splice_fd         # descriptor into which body bytes may be spliced, owned by the sink; -1 = all bytes must go through `put`

    cdef int put(self, Span data) except -1
    cdef int end(self, Message trailers) except -1
    cdef int flush(self) except -1
    cdef int drained(self) except -1
    cdef void spliced(self, int64_t count) noexcept
    cdef void wait_for_output(self) noexcept
    cdef void write_failed(self) noexcept


cdef class Filter(Sink):
    cdef Sink next             # the sink behind the filter; None while it is not known
    cdef Py_ssize_t step       # the number of the middleware that has added it, among those that the message passes
    cdef bint complete         # `end` was called
    cdef bint ended            # `next.end` was called
    cdef bint holds            # the middleware that has added it holds the head of the answer back
    cdef bint refused          # the filter itself has refused the body: it is longer than allowed, or not understood
    cdef bint keeps_all        # the filter has all of the body, and gives it to each sink that comes behind it
    cdef Message trailers      # of a complete body, owned by the exchange; None = it has none

    cdef void connect(self, Sink next) noexcept
    cdef int give(self) except -1
    cdef int go_on(self) except -1
