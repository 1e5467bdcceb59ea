# A listening socket in the reactor.

from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.transport.http1_client cimport Http1Client
from lbcore.transport.reactor cimport Channel

cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr_storage:
        unsigned short ss_family


cdef class Listener(Channel):
    cdef EntryPoint entry_point
    cdef Dialer dialer
    cdef set clients           # Http1Client and TcpConnection; all open ones of the worker
    cdef object sock
    cdef bint paused           # nothing can be accepted: no descriptors or memory

    cdef int pause(self, bint paused) except -1
    cdef int accept_one(self) except -1
    cdef bint take_tcp(self, int fd, const sockaddr_storage* storage) except *
    cdef int serve_tcp(self) except -1
