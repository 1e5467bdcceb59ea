"""Bodies on their way through an exchange: sinks that take them, and filters, which are sinks in front of sinks. No I/O.

A source, one end of an exchange, puts the body into the first sink of a chain; the last one is the other end. A source may
splice past a chain of one: a filter has no `splice_fd`, so the chain itself decides whether bytes move inside the kernel.
"""

from libc.stdint cimport int64_t

from lbcore.http.message cimport Message
from lbcore.http.span cimport Span


cdef class Sink:
    """Takes a body and drops it."""

    def __cinit__(self):
        self.splice_fd = -1

    cdef int put(self, Span data) except -1:
        """Take a part of the body; `data` is the caller's again afterwards. Not to be called while `blocked`.

        Some of it may have to wait: see `blocked`. Returns 0, or the status that the message is to be refused with, such as
        413; then the source puts no more, and tells the exchange. `end` and `drained` return the same.
        """
        return 0

    cdef int end(self, Message trailers) except -1:
        """The body is complete. May be called while `blocked`: a filter then passes on what it has, and the end, once it is
        drained. `trailers`: the trailer section, which the exchange owns until it ends; None when there is none."""
        return 0

    cdef int flush(self) except -1:
        """Hand what was put to the kernel."""
        return 0

    cdef int drained(self) except -1:
        """The end of the chain takes more again: pass on what was kept back. `blocked` says whether that was all of it."""
        return 0

    cdef void spliced(self, int64_t count) noexcept:
        """So many bytes of the body went into `splice_fd`, past this object."""
        pass

    cdef void wait_for_output(self) noexcept:
        """A write to `splice_fd` found no room. From now on `blocked`."""
        self.blocked = True

    cdef void write_failed(self) noexcept:
        """A write to `splice_fd` failed. From now on `blocked`; the exchange is told later, not from within this call."""
        self.blocked = True


cdef class Filter(Sink):
    """Passes the body on as it is. A filter that changes it overrides `put`; one that keeps some back, `give`, too.

    Nothing is put into a sink that is blocked, and its end is told when it takes more again.
    """

    cdef void connect(self, Sink next) noexcept:
        """Have the body go on to `next`; None: it is not known yet, so nothing may be put."""
        self.next = next
        self.blocked = next is None or next.blocked

    cdef int put(self, Span data) except -1:
        cdef int status = self.next.put(data)
        self.blocked = self.next.blocked
        return status

    cdef int give(self) except -1:
        """Put a part of what was kept back into `next`, which is not blocked. Returns 0: there is nothing to be put now;
        1: there may be more; or the status of a refusal. When the body is `complete`, all that was kept has to go out."""
        return 0

    cdef int go_on(self) except -1:
        """Pass on what was kept back, then the end, as far as `next` takes it. Returns 0 or the status of a refusal."""
        cdef int result = 0
        while not self.next.blocked:
            result = self.give()
            if result > 1:
                break
            if result == 0:
                if self.complete and not self.ended:
                    self.ended = True
                    result = self.next.end(self.trailers)
                break
        self.blocked = self.next.blocked
        return result if result > 1 else 0

    cdef int end(self, Message trailers) except -1:
        self.complete = True
        self.trailers = trailers
        return self.go_on()

    cdef int flush(self) except -1:
        self.next.flush()
        self.blocked = self.blocked or self.next.blocked
        return 0

    cdef int drained(self) except -1:
        cdef int status = self.next.drained()
        return status if status else self.go_on()
