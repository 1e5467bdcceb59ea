"""Sinks, which take the body of a message, and filters, which are sinks in front of another sink. No I/O.

The source, one end of an exchange, puts the body into the first sink of a chain, whose last sink is the other end. Only the last
sink has a `splice_fd`, so bytes are spliced exactly if the chain has no filter.
"""

from libc.stdint cimport int64_t

from lbcore.http.message cimport Message
from lbcore.http.span cimport Span


cdef class Sink:
    """The base of sinks, which drops the body."""

    def __cinit__(self):
        self.splice_fd = -1

    cdef int put(self, Span data) except -1:
        """Take a part of the body. `data` is valid during the call only. Must not be called while `blocked`.

        If the sink cannot take more afterwards, it sets `blocked`. Returns 0, or the status with which the message is refused, such as
        413: the source then puts no more, and reports it to the exchange. `end` and `drained` return the same.
        """
        return 0

    cdef int end(self, Message trailers) except -1:
        """End the body. May be called while `blocked`: a filter then passes on its bytes and the end when it is drained.

        trailers  the trailer section, owned by the exchange until that ends; None if there is none.
        """
        return 0

    cdef int flush(self) except -1:
        """Send what was put."""
        return 0

    cdef int drained(self) except -1:
        """Pass on bytes that were kept back, because the end of the chain can take more. Afterwards `blocked` says whether any are left."""
        return 0

    cdef void spliced(self, int64_t count) noexcept:
        """Count bytes of the body that were spliced into `splice_fd`."""
        pass

    cdef void wait_for_output(self) noexcept:
        """Become `blocked`, because a splice into `splice_fd` found no room."""
        self.blocked = True

    cdef void write_failed(self) noexcept:
        """Become `blocked`, because a splice into `splice_fd` failed; the exchange learns of it later, not within this call."""
        self.blocked = True


cdef class Filter(Sink):
    """The base of filters, which passes the body on unchanged. A filter that changes the body overrides `put`; one that keeps bytes
    back overrides `give`, too. It must not put into a blocked sink."""

    cdef void connect(self, Sink next) noexcept:
        """Set the sink behind the filter. None = it is not known yet, so the filter is blocked: nothing may be put."""
        self.next = next
        self.blocked = next is None or next.blocked

    cdef int put(self, Span data) except -1:
        cdef int status = self.next.put(data)
        self.blocked = self.next.blocked
        return status

    cdef int give(self) except -1:
        """Put a part of the bytes kept back into `next`, which is not blocked. If the body is `complete`, no byte may stay back.

        Returns 0 if there is nothing to put now, 1 if there may be more, or the status of a refusal."""
        return 0

    cdef int go_on(self) except -1:
        """Pass on the bytes kept back, then the end, as far as `next` takes them. Returns 0 or the status of a refusal."""
        cdef int result = 0
        if self.holds:
            return 0
        if self.next is None:
            self.blocked = True
            return 0
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
        if self.next is not None and not self.holds:
            self.next.flush()
            self.blocked = self.blocked or self.next.blocked
        return 0

    cdef int drained(self) except -1:
        cdef int status = 0 if self.next is None else self.next.drained()
        return status if status else self.go_on()
