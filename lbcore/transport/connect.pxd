# Non-blocking connects to the addresses of a server, one after the other.

from libc.stdint cimport int64_t

from lbcore.transport.reactor cimport Reactor
from lbcore.transport.socket cimport Socket

cdef enum:
    NO_RESOURCE = -3           # no address is left, and one could not be tried because this process lacks a resource
    NO_ADDRESS_LEFT = -1
    CONNECTING = 0             # an event will announce the result
    CONNECTED = 1


cdef int connect_next(Reactor reactor, Socket socket, tuple addresses, Py_ssize_t* tried, int64_t until_ms) except? -2
cdef bint is_our_lack(int error) noexcept nogil
