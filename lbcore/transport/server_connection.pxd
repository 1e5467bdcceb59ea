# The interface of connections to servers, whatever their protocol, to the pool.

from lbcore.proxy.exchange cimport ServerStream
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport UpstreamPolicy
from lbcore.transport.dial cimport Dial
from lbcore.transport.socket cimport SocketOwner


cdef class ServerConnection(SocketOwner):
    cdef Server server
    cdef bint reused                   # it has carried an exchange before, so it may have died unnoticed
    cdef Py_ssize_t available          # streams that it can open now; 0 = it is not in the pool
    cdef object pool                   # the Pool that holds it; None while it can open no stream
    cdef ServerConnection newer        # neighbours in the pool
    cdef ServerConnection older
    cdef Dial dial                     # that has led to it, and is told when it can open streams; None: it was told

    cdef ServerStream open_stream(self)
    cdef int await_streams(self, Dial dial, UpstreamPolicy policy) except -1
    cdef int go_on(self) except -1
    cdef int close(self) except -1
