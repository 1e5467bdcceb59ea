# A connection that was accepted, until it is known what it is.

from libc.stdint cimport int64_t

from lbcore.proxy.exchange cimport Dialer
from lbcore.transport.connection cimport ClientConnection, Learned
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.socket cimport OwnedSocket


cdef class Arrival(ClientConnection):
    cdef Reactor reactor
    cdef Dialer dialer
    cdef OwnedSocket socket    # None once another connection owns it, or it has closed
    cdef Learned learned
    cdef int64_t opened_ms
    cdef bint waiting          # in the reactor, and counted as open
    cdef bint told             # a PROXY header was read, or is not looked for

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
