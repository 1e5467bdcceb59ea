# An accepted connection whose protocol is not known yet.

from libc.stdint cimport int64_t

from lbcore.proxy.exchange cimport Dialer
from lbcore.transport.connection cimport ClientConnection, Learned
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

    cdef int begin(self, Reactor reactor) except -1
    cdef int proceed(self) except -1
    cdef int wait(self) except -1
    cdef int read_proxy_header(self) except -1
    cdef int read_first_byte(self) except -1
    cdef int start_encryption(self) except -1
    cdef int shake_hands(self) except -1
    cdef int serve(self) except -1
    cdef int refuse(self, int error) except -1
    cdef int close(self) noexcept
