# An accepted connection whose protocol is not known yet.

from libc.stdint cimport int64_t

from lbcore.proxy.exchange cimport Dialer
from lbcore.routing.tcp_route cimport TcpRoute
from lbcore.transport.connection cimport ClientConnection, Learned
from lbcore.transport.encryption cimport Encryption
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.socket cimport OwnedSocket


cdef class Arrival(ClientConnection):
    cdef Reactor reactor
    cdef Dialer dialer
    cdef OwnedSocket socket    # None after another connection has taken it, or after it has closed
    cdef Learned learned
    cdef int64_t opened_ms
    cdef bint waiting          # the socket is in the reactor, and this connection counted as open
    cdef bint proxy_done       # the PROXY header was read, or none is expected
    cdef bint hurried          # the timeout of the hello is set
    cdef TcpRoute route        # the router of layer 4 that matches the hello; None = HTTP, or not known yet

    cdef int begin(self, Reactor reactor) except -1
    cdef int proceed(self) except -1
    cdef int wait(self) except -1
    cdef int read_proxy_header(self) except -1
    cdef int read_first_bytes(self) except -1
    cdef int64_t handshake_ms(self) noexcept
    cdef int understand(self) except -1
    cdef int consent(self) except -1
    cdef int read_hello(self) except -1
    cdef int start_encryption(self, Encryption encryption) except -1
    cdef int shake_hands(self) except -1
    cdef int serve(self) except -1
    cdef int refuse(self, int error) except -1
    cdef int close(self) noexcept
