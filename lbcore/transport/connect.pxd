# Connections begun to the addresses of a server, one after the other.

from libc.stdint cimport int64_t

from lbcore.transport.reactor cimport Reactor
from lbcore.transport.socket cimport Socket

cdef enum:
    NO_ADDRESS_LEFT = -1
    CONNECTING = 0             # an event tells how it went
    CONNECTED = 1


cdef int connect_next(Reactor reactor, Socket socket, tuple addresses, Py_ssize_t* tried, int64_t until_ms) except? -2
cdef int connect_error(int fd) noexcept nogil
cdef void probe_when_idle(int fd, int64_t interval_s) noexcept nogil
