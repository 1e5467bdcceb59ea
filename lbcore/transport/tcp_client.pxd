# Connections of layer 4: bytes both ways between a client and the server chosen for it.

from libc.stdint cimport uint64_t

from lbcore.http.head cimport ClientAddress
from lbcore.routing.asker cimport Asker
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.decision cimport Decision
from lbcore.routing.server cimport Server
from lbcore.routing.tcp_route cimport TcpRoute
from lbcore.transport.connection cimport ClientConnection, Learned
from lbcore.transport.dial cimport Dial
from lbcore.transport.dialer cimport SocketDialer
from lbcore.transport.socket cimport OwnedSocket
from lbcore.transport.tunnel cimport Tunnel

cdef bytes POSTGRES_ASKS           # SSLRequest
cdef bytes POSTGRES_CONSENTS

cdef enum TcpState:
    TCP_CONNECTING = 0
    TCP_TUNNEL
    TCP_CLOSED


cdef class TcpDial(Dial):
    cdef TcpConnection connection      # None after its end


cdef class TcpConnection(ClientConnection):
    cdef SocketDialer dialer
    cdef TcpRoute route
    cdef ClientAddress address
    cdef ClientAddress local           # the address to which the client connected, from a PROXY header; empty = ask the kernel
    cdef Asker asker               # describes the client to services that choose by it
    cdef Decision decision
    cdef LoadBalancer balancer
    cdef Server server
    cdef OwnedSocket client
    cdef TcpDial dialing               # None while no connection is being established
    cdef OwnedSocket upstream          # to the server; None until it is established
    cdef Tunnel tunnel
    cdef uint64_t asked_ns             # monotonic time of the batch of events in which the server was chosen
    cdef int state                     # TcpState
    cdef int attempts                  # servers tried
    cdef int error                     # ErrorKind of the last attempt
    cdef Py_ssize_t limits_taken       # number of the route's limits that count this connection, and have to be given back
    cdef bint postgres                 # the server has to be sent PostgreSQL's SSLRequest before the ClientHello
    cdef bint leaving                  # one side has ended, and terminationDelay runs

    cdef int open(self) except -1
    cdef bint pass_limits(self) except *
    cdef int dial(self) except -1
    cdef int pass_over(self, int error) except -1
    cdef int connected(self, OwnedSocket upstream) except -1
    cdef int pump(self) except -1
    cdef bytes proxy_header(self)
    cdef int close(self) except -1


cdef int serve_route(TcpRoute route, OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer,
                     set connections) except -1
cdef bint serve_tcp(OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer, set connections) except *
