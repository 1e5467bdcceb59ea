# HTTP/1.1 towards a client: a connection, and the stream that carries its present request.

from libc.stdint cimport int64_t

from lbcore.http.head cimport ClientAddress
from lbcore.proxy.entry_point cimport EntryPoint, Limits
from lbcore.proxy.exchange cimport Dialer, Exchange
from lbcore.transport.connection cimport ClientConnection, Learned
from lbcore.transport.http1_body cimport BodyReader
from lbcore.transport.linger cimport Linger
from lbcore.transport.request_stream cimport RequestStream
from lbcore.transport.socket cimport OwnedSocket
from lbcore.transport.tunnel cimport Tunnel

cdef enum ClientState:         # state of the connection; MOVES in the .pyx has the legal transitions
    CLIENT_IDLE = 0            # between requests, or inside a head
    CLIENT_BUSY                # the stream has an exchange
    CLIENT_FLUSHING            # an answer is complete, and its rest waits to be sent
    CLIENT_LINGERING           # the last answer is sent; input is discarded until the client closes, so that no reset destroys the answer
    CLIENT_TUNNEL
    CLIENT_CLOSED


cdef class Http1ClientConnection(ClientConnection):
    cdef OwnedSocket socket
    cdef Http1ClientStream stream      # refers back; None while the connection is idle and has nothing to send
    cdef Dialer dialer
    cdef ClientAddress address
    cdef bint encrypted                # the connection is TLS
    cdef bint trusted                  # the client may set the managed forwarding headers
    cdef int state                     # ClientState
    cdef int64_t requests
    cdef int64_t opened_ms
    cdef int64_t idle_ms               # end of the last answer, or at first the opening, by the reactor's clock
    cdef bint serving                  # `read_requests` is running, and sends the output at its end
    cdef bint keep_alive               # another request may follow the present one
    cdef bint unread                   # more of the last request may come, which is discarded before the connection closes
    cdef bint half_closed              # the client has ended its sending side while the present request was under way
    cdef int64_t taken_bytes           # answer bytes that a half-closed client had taken at the last check; -1 = no check yet
    cdef int64_t answer_until_ms       # deadline of the answer, by the reactor's clock; 0 = none
    cdef Py_ssize_t seen               # bytes of an incomplete head that were parsed already
    cdef Linger lingering
    cdef Tunnel tunnel                 # after a switch of protocols
    cdef OwnedSocket upstream          # the server's end of the tunnel, owned

    cdef int open(self) except -1
    cdef int watch_half_closed(self) except -1
    cdef bint awaits_last_answer(self) noexcept
    cdef int wait_on(self) except -1
    cdef int limit_answer(self) except -1
    cdef int close(self) except -1
    cdef int move(self, int state) except -1
    cdef int hold_stream(self) except -1
    cdef void give_stream(self) noexcept
    cdef int arm(self, int64_t delay_ms) except -1
    cdef int read_requests(self) except -1
    cdef int skip_empty_lines(self) except -1
    cdef int limit_idle(self) except -1
    cdef int read_head(self) except -1
    cdef bint is_http2(self) noexcept
    cdef int become_http2(self) except -1
    cdef int take(self, Exchange exchange) except -1
    cdef int begin_exchange(self, Exchange exchange) except -1
    cdef int refuse(self, int status, int error) except -1
    cdef int end_of_requests(self) except -1
    cdef int rest(self) except -1
    cdef int watch(self) except -1
    cdef int leave_if_gone(self) except -1
    cdef int answered(self) except -1
    cdef int answer_is_out(self) except -1
    cdef int switch(self, OwnedSocket upstream) except -1
    cdef int pump_tunnel(self) except -1
    cdef int linger(self) except -1
    cdef int read_past(self) except -1

    cdef inline bint reached_keep_alive_limit(self) noexcept:
        """Whether the connection has reached its greatest age or number of requests."""
        cdef Limits* limits = &self.entry_point.limits
        if limits.keep_alive_max_requests and self.requests >= limits.keep_alive_max_requests:
            return True
        return limits.keep_alive_max_ms and self.socket.reactor.now_ms - self.opened_ms >= limits.keep_alive_max_ms


cdef class Http1ClientStream(RequestStream):
    cdef Http1ClientConnection connection
    cdef OwnedSocket socket            # the connection's
    cdef int minor_version             # of the request
    cdef BodyReader body               # of the request
    cdef bint chunking                 # the answer is sent in chunks
    cdef bint until_close              # the answer ends with the connection
    cdef bint broken                   # a write failed

    cdef void clear(self) noexcept
    cdef void skip_body(self) noexcept


cdef int serve_http1(OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer, set connections) except -1
