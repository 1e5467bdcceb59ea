# Streams of a client over QUIC: each is one exchange, a connection carries many.

from libc.stdint cimport int64_t, uint8_t

from lbcore.http.fields cimport RequestFields
from lbcore.http.head cimport ClientAddress
from lbcore.http.span cimport Span
from lbcore.proxy.exchange cimport ClientStream, Dialer
from lbcore.transport.connection cimport ClientConnection
from lbcore.transport.flow cimport Flow, FlowSession
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.socket cimport OwnedSocket, SocketOwner

cdef enum Leaving:             # how far the end of a connection is that ends without hurry
    LEAVING_NOT = 0
    LEAVING_TOLD               # the client was told to begin no more streams, which it may not know yet
    LEAVING_FOR_GOOD           # streams that begin now are not served


cdef class FlowConnection(ClientConnection):
    cdef Reactor reactor
    cdef FlowSession streams_of        # its session, which the streams use
    cdef Dialer dialer
    cdef FlowStream first              # open streams; each refers to its neighbours
    cdef Py_ssize_t streams            # how many
    cdef ClientAddress address
    cdef bint encrypted                # the client speaks through TLS
    cdef const char* tls_version       # of it; a constant, NULL without TLS
    cdef const char* tls_cipher        # likewise
    cdef bytes tls_subject             # of the client's certificate; None without one
    cdef tuple tls_chain               # all of its certificates, as in `Request.tls_chain`; None likewise
    cdef bytes server_name             # that it asked for; None without TLS
    cdef bint trusted                  # may set the managed forwarding headers
    cdef bint is_open                  # requests are served; False once it lingers or has closed
    cdef int leaving                   # Leaving
    cdef int64_t requests
    cdef int64_t opened_ms             # all times by the reactor's clock
    cdef int64_t idle_ms               # when the last stream ended; at first, when it was opened
    cdef int64_t section_ms            # since when a head is incomplete; 0: none is
    cdef int64_t leave_ms              # when LEAVING_TOLD ends
    cdef int64_t check_ms              # when the timer fires; 0: it is not set

    cdef int check_by(self, int64_t until_ms) except -1
    cdef int check(self) except -1
    cdef int leave_softly(self) except -1
    cdef int leave_for_good(self) except -1
    cdef int end_streams(self) except -1
    cdef void link(self, FlowStream stream) noexcept
    cdef void unlink(self, FlowStream stream) noexcept
    cdef int take_field(self, Flow* flow, Span name, Span value) noexcept

    # Implemented by the protocols
    cdef int set_timer(self, int64_t delay_ms) except -1
    cdef int tell_leaving(self) except -1
    cdef int tell_left(self) except -1
    cdef void streams_changed(self) noexcept

    cdef inline bint reached_keep_alive_limit(self) noexcept:
        """As old, or as often used, as a connection may get."""
        cdef int64_t most = self.entry_point.limits.keep_alive_max_requests
        if most and self.requests >= most:
            return True
        most = self.entry_point.limits.keep_alive_max_ms
        return most and self.reactor.now_ms - self.opened_ms >= most


cdef class FlowTunnel(SocketOwner):
    cdef FlowStream stream             # None once it is over
    cdef OwnedSocket upstream          # the server's end, owned
    cdef bint up_ended                 # the client has ended its side, and the server was told
    cdef bint down_ended               # the other way round

    cdef int pump(self) except -1
    cdef bint pump_up(self) except *
    cdef bint pump_down(self) except *
    cdef int finish(self, bint broken) except -1


cdef class FlowStream(ClientStream):
    cdef FlowConnection connection     # None once the stream is closed
    cdef FlowStream newer              # neighbours among those of the connection
    cdef FlowStream older              # also the next one of those that are kept for reuse
    cdef Flow flow
    cdef RequestFields fields
    cdef FlowTunnel tunnel             # after a switch of protocols; None = there was none
    cdef bint begun                    # its exchange has begun, or was refused
    cdef bint told_end                 # the exchange knows that the request is complete
    cdef bint mute                     # the answer is said with its head: its body is dropped
    cdef bint continue_sent            # 100 Continue went out, or is not wanted
    cdef int64_t began_ms              # when the head was complete, by the reactor's clock
    cdef int64_t excused_ms            # of the time since then, the server has taken nothing
    cdef int64_t blocked_ms            # since when it takes nothing; 0 = it does
    cdef int64_t answer_until_ms       # when the answer has to be out; 0 = any time

    cdef int ready(self, int events) except -1
    cdef int begin(self) except -1
    cdef int refuse(self, int status, int error) except -1
    cdef int take(self) except -1
    cdef int closed(self) except -1
    cdef int limit_answer(self) except -1
    cdef int wait_for_server(self) except -1
    cdef int64_t patience_ms(self) noexcept
    cdef int check(self, int64_t now_ms) except -1
    cdef int failed(self, object error) except -1


cdef FlowStream stream_take(FlowConnection connection, int64_t stream_id)
