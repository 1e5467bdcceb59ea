# HTTP/1.1 towards a client: a connection, and the one stream it has, for one request after another.

from libc.stdint cimport int64_t, uint32_t

from lbcore.http.head cimport ClientAddress
from lbcore.proxy.entry_point cimport EntryPoint, Limits
from lbcore.proxy.exchange cimport ClientStream, Dialer, Exchange
from lbcore.transport.connection cimport ClientConnection, Learned
from lbcore.transport.http1_body cimport BodyReader
from lbcore.transport.socket cimport OwnedSocket
from lbcore.transport.tunnel cimport Tunnel

cdef enum ClientState:         # of the connection; MOVES in the .pyx says what may follow what
    CLIENT_IDLE = 0            # between requests, or inside a head
    CLIENT_BUSY                # the stream has an exchange
    CLIENT_FLUSHING            # an answer is complete, but some of it waits to be sent
    CLIENT_LINGERING           # the last answer is out; what the client still sends is read past, so that it gets the answer
    CLIENT_TUNNEL
    CLIENT_CLOSED


cdef class Http1ClientConnection(ClientConnection):
    cdef OwnedSocket socket
    cdef Http1ClientStream stream      # the one there is; they refer to each other until the reactor has released the socket
    cdef Dialer dialer
    cdef ClientAddress address
    cdef bint encrypted                # the client speaks through a transport: TLS
    cdef const char* tls_version       # of it; a constant, NULL without TLS
    cdef const char* tls_cipher        # likewise
    cdef bytes server_name             # that it asked for; None without TLS
    cdef bint trusted                  # may set the managed forwarding headers
    cdef int state                     # ClientState
    cdef int64_t requests
    cdef int64_t opened_ms
    cdef int64_t idle_ms               # when the last answer ended; at first, when it was opened
    cdef bint serving                  # inside `serve`: what is put goes out when it is through
    cdef bint keep_alive               # another request may follow the one at work
    cdef bint unread                   # of the last request something may still come: it is read past before the end
    cdef bint half_closed              # the client has ended its side, while a request was under way
    cdef int64_t taken_bytes           # of the answer, by a client that is half closed, as of the last look; -1 = there was none
    cdef int64_t answer_until_ms       # when the answer has to be out, by the reactor's clock; 0 = any time
    cdef Py_ssize_t seen               # bytes of an incomplete head that were parsed already
    cdef Py_ssize_t lingered           # bytes read past
    cdef int64_t linger_until_ms       # by the reactor's clock
    cdef Tunnel tunnel                 # after a switch of protocols
    cdef OwnedSocket upstream          # the other end of it, owned

    cdef int open(self) except -1
    cdef int watch_half_closed(self) except -1
    cdef int wait_on(self) except -1
    cdef int limit_answer(self) except -1
    cdef int close(self) except -1
    cdef int move(self, int state) except -1
    cdef int arm(self, int64_t delay_ms) except -1
    cdef int read_requests(self) except -1
    cdef void skip_empty_lines(self) noexcept
    cdef int read_head(self) except -1
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
        """As old, or as often used, as a connection may get."""
        cdef Limits* limits = &self.entry_point.limits
        if limits.keep_alive_max_requests and self.requests >= limits.keep_alive_max_requests:
            return True
        return limits.keep_alive_max_ms and self.socket.reactor.now_ms - self.opened_ms >= limits.keep_alive_max_ms


cdef class Http1ClientStream(ClientStream):
    cdef Http1ClientConnection connection
    cdef OwnedSocket socket            # the connection's
    cdef int minor_version             # of the request
    cdef BodyReader body               # of the request
    cdef bint continue_sent            # 100 Continue went out, or is not wanted
    cdef bint chunking                 # the answer goes out in chunks
    cdef bint broken                   # a write failed
    cdef int64_t began_ms              # when the head was complete, by the reactor's clock
    cdef int64_t excused_ms            # of the time since then, the server has taken nothing
    cdef int64_t blocked_ms            # since when it takes nothing; 0 = it does

    cdef void clear(self) noexcept
    cdef int64_t patience_ms(self) noexcept
    cdef int wait_for_server(self) except -1
    cdef void skip_body(self) noexcept


cdef int serve_http1(OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer, set connections) except -1
