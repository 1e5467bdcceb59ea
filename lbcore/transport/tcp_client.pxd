# A connection of layer 4: bytes both ways between a client and the server chosen for it.

from libc.stdint cimport int64_t, uint32_t

from lbcore.http.head cimport ClientAddress
from lbcore.routing.asker cimport Asker
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.decision cimport Decision
from lbcore.routing.server cimport Server
from lbcore.routing.tcp_route cimport TcpRoute
from lbcore.transport.connection cimport ClientConnection, Learned
from lbcore.transport.dialer cimport SocketDialer
from lbcore.transport.socket cimport OwnedSocket
from lbcore.transport.tunnel cimport Tunnel

cdef enum TcpState:
    TCP_CONNECTING = 0         # also: the server's name is being resolved
    TCP_TUNNEL
    TCP_CLOSED


cdef class TcpConnection(ClientConnection):
    cdef SocketDialer dialer
    cdef TcpRoute route
    cdef ClientAddress address
    cdef ClientAddress local           # what the client connected to, as a proxy before has said; empty = ask the kernel
    cdef Asker asker               # the client, for services that choose by it
    cdef Decision decision
    cdef LoadBalancer balancer
    cdef Server server
    cdef OwnedSocket client
    cdef OwnedSocket upstream          # None while no server is at work; not in the reactor until a connection is begun
    cdef Tunnel tunnel
    cdef int state                     # TcpState
    cdef int attempts                  # servers tried
    cdef int error                     # ErrorKind of the last one
    cdef tuple addresses               # of the server, packed; None while its name is being resolved
    cdef Py_ssize_t tried              # of these
    cdef int64_t until_ms              # when one of them must have taken the connection, by the reactor's clock; 0 = any time
    cdef Py_ssize_t limits_taken       # limits of the route that count this connection
    cdef bint leaving                  # one side has ended, the delay runs

    cdef int open(self) except -1
    cdef bint pass_limits(self) except *
    cdef int dial(self) except -1
    cdef int connect(self, tuple addresses) except -1
    cdef void new_upstream(self) noexcept
    cdef int connect_next_address(self) except -1
    cdef int give_up_address(self, int error) except -1
    cdef int pass_over(self, int error) except -1
    cdef int connected(self) except -1
    cdef int pump(self) except -1
    cdef int send_header(self) except -1
    cdef int close(self) except -1


cdef bint serve_tcp(OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer, set connections) except *
