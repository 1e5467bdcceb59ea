# A listening socket in the reactor, and the connections it has accepted until they are known to be HTTP or layer 4.

from lbcore.http.buffer cimport Buffer
from lbcore.http.head cimport ClientAddress
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.transport.proxy_protocol cimport ProxyHeader
from lbcore.transport.reactor cimport Channel
from lbcore.transport.socket cimport Socket


cdef class Listener(Channel):
    cdef EntryPoint entry_point
    cdef Dialer dialer
    cdef set clients           # Http1Client, TcpConnection and Arrival; all open ones of the worker
    cdef object sock
    cdef bint paused           # nothing can be accepted: no descriptors or memory

    cdef int pause(self, bint paused) except -1
    cdef int accept_one(self) except -1
    cdef int begin(self, int fd, const ClientAddress* client, const ClientAddress* local, Buffer* first) except -1
    cdef bint begin_tcp(self, int fd, const ClientAddress* client, const ClientAddress* local, Buffer* first) except *
    cdef int serve_tcp(self) except -1


cdef class Arrival(Socket):
    cdef Listener listener
    cdef ClientAddress address         # of the connection's other end
    cdef bint waiting                  # in the reactor

    cdef int open(self, int fd) except -1
    cdef int read(self) except -1
    cdef int hand_over(self, ProxyHeader* header) except -1
    cdef int leave(self) except -1
    cdef int drain(self) except -1
    cdef int close(self) except -1
