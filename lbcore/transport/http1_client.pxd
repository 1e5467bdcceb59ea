# HTTP/1.1 towards a client: one connection, one request after another.

from libc.stdint cimport int64_t, uint32_t

from lbcore.http.head cimport ClientAddress
from lbcore.proxy.entry_point cimport EntryPoint, Limits
from lbcore.proxy.exchange cimport Dialer, Exchange
from lbcore.transport.connection cimport Connection, Learned
from lbcore.transport.http1_upload cimport Http1Upload
from lbcore.transport.socket cimport OwnedSocket, Socket
from lbcore.transport.tunnel cimport Tunnel

cdef enum ClientState:
    CLIENT_IDLE = 0            # between requests, or inside a head
    CLIENT_BUSY                # an exchange is under way
    CLIENT_FLUSHING            # an answer is complete, but some of it waits to be sent
    CLIENT_LINGERING           # the last answer is out; what the client still sends is read past, so that it gets the answer
    CLIENT_TUNNEL
    CLIENT_CLOSED


cdef class Http1Connection(Connection):
    cdef Http1Client http


cdef class Http1Client(Http1Upload):
    cdef Dialer dialer
    cdef ClientAddress address
    cdef Http1Connection connection    # None once closed
    cdef bint encrypted        # the client speaks through a transport: TLS
    cdef bint trusted          # may set the managed forwarding headers
    cdef int state             # ClientState
    cdef int64_t requests
    cdef int64_t opened_ms
    cdef int64_t idle_ms       # when the last answer ended; at first, when it was opened
    cdef bint serving          # inside `serve`: what is put goes out when it is through
    cdef bint chunking         # the answer goes out in chunks
    cdef bint broken           # a write failed
    cdef Py_ssize_t lingered   # bytes read past
    cdef Tunnel carrier        # after a switch of protocols

    cdef int open(self) except -1
    cdef int on_ready(self, uint32_t events) except -1
    cdef int on_timeout(self) except -1
    cdef int serve(self) except -1
    cdef void skip_empty_lines(self) noexcept
    cdef int read_head(self) except -1
    cdef int begin(self, Py_ssize_t used) except -1
    cdef void take(self, Exchange exchange) noexcept
    cdef int refuse(self, int status, int error) except -1
    cdef int rest(self) except -1
    cdef int watch(self) except -1
    cdef int go_on(self) except -1
    cdef int drain(self) except -1
    cdef int carry(self) except -1

    cdef inline bint is_worn_out(self) noexcept:
        """As old, or as often used, as a connection may get."""
        cdef Limits* limits = &self.entry_point.limits
        if limits.keep_alive_max_requests and self.requests >= limits.keep_alive_max_requests:
            return True
        return limits.keep_alive_max_ms and self.socket.reactor.now_ms - self.opened_ms >= limits.keep_alive_max_ms
    cdef int linger(self) except -1
    cdef int read_past(self) except -1
    cdef void release_exchange(self) noexcept
    cdef int close(self) except -1


cdef int serve_http1(OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer, set connections) except -1
