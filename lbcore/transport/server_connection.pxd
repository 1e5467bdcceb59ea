# A connection to a server, whatever it speaks: what the pool knows of it.

from lbcore.proxy.exchange cimport ServerStream
from lbcore.routing.server cimport Server
from lbcore.transport.socket cimport SocketOwner


cdef class ServerConnection(SocketOwner):
    cdef Server server
    cdef bint reused                   # it has answered before, so it may have died unnoticed
    cdef Py_ssize_t available          # streams that it can still open; 0 = it does not lie in the pool
    cdef object pool                   # the Pool it lies in; None while it has no stream to give
    cdef ServerConnection newer        # neighbours in the pool
    cdef ServerConnection older

    cdef ServerStream open_stream(self)
    cdef int go_on(self) except -1
    cdef int close(self) except -1
