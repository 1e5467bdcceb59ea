"""The stream of a client's connection, whatever its protocol: when the body of its request goes on, and how long it may take."""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t

from lbcore.http.sink cimport Sink
from lbcore.proxy.entry_point cimport Limits
from lbcore.proxy.exchange cimport ClientStream

cdef enum:
    BODY_GRACE_MS = 10000      # time before the rate of a body counts


cdef class RequestStream(ClientStream):
    """Decides whether the body may go on. The protocols read it (`read_body`)."""

    cdef int64_t begin_body(self, bint expects_continue) noexcept:
        """Begin the body of a request whose head is complete. Returns the time in ms that it has, as `patience_ms`."""
        self.continue_sent = not expects_continue
        self.began_ms = self.now_ms()
        self.excused_ms = self.blocked_ms = 0
        return self.patience_ms()

    cdef int64_t patience_ms(self) noexcept:
        """The time in ms that is left for the body, by `minBodyRate` and `readTimeout`. INT64_MAX = no limit; 0 or less = it is over."""
        cdef Limits* limits = &self.exchange.entry_point.limits
        cdef int64_t now_ms = self.now_ms(), left_ms = INT64_MAX, waited_ms
        if limits.read_timeout_ms:
            left_ms = self.began_ms + limits.read_timeout_ms - now_ms
        if limits.min_body_rate:
            waited_ms = now_ms - self.began_ms - self.excused_ms
            if self.blocked_ms:
                waited_ms -= now_ms - self.blocked_ms
            left_ms = min(left_ms, BODY_GRACE_MS - waited_ms
                          + <int64_t>(self.exchange.request_bytes * 1000 // <uint64_t>limits.min_body_rate))
        return left_ms

    cdef int want_body(self) except -1:
        cdef Sink sink = self.exchange.body_sink()
        if not self.has_body():
            if sink is not None:
                sink.flush()
            return self.body_rests()
        if sink is None or sink.blocked:
            return self.wait_for_server()
        if self.blocked_ms:
            self.excused_ms += self.now_ms() - self.blocked_ms
            self.blocked_ms = 0
        if not self.continue_sent:
            self.continue_sent = True
            self.put_continue()
        return self.read_body(sink)

    # Implemented by the protocols

    cdef int64_t now_ms(self) noexcept:
        """The time by the reactor's clock."""
        return 0

    cdef bint has_body(self) noexcept:
        """Whether more of the body, or its end, has still to be passed on."""
        return False

    cdef int put_continue(self) except -1:
        """Put 100 Continue, unless the client has begun the body without waiting for it."""
        return 0

    cdef int read_body(self, Sink sink) except -1:
        """Move the body to `sink`, which is not blocked, as far as it has arrived; then its end to `Exchange.request_end`."""
        return 0

    cdef int body_rests(self) except -1:
        """Do what is due while nothing of the body can be moved."""
        return 0

    cdef int wait_for_server(self) except -1:
        """Stop reading, because the server is blocked or not known yet; this time does not count for the rate of the body."""
        if not self.blocked_ms:
            self.blocked_ms = self.now_ms()
        return 0
