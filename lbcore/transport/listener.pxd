# A listening socket in the reactor.

from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.transport.connection cimport Learned
from lbcore.transport.reactor cimport Channel
from lbcore.transport.reserve cimport Reserve
from lbcore.transport.socket cimport OwnedSocket


cdef class Listener(Channel):
    cdef EntryPoint entry_point
    cdef Dialer dialer
    cdef set connections       # all open ClientConnections of the entry point
    cdef Reserve reserve       # limits the number of clients
    cdef object sock
    cdef OwnedSocket spare     # for the next connection, made before accept(2) so that no descriptor is ever without an owner
    cdef bint paused           # accepting is paused for a lack of descriptors or memory

    cdef int pause(self, bint paused) except -1
    cdef int accept_one(self) except -1
    cdef int start(self, OwnedSocket socket, const Learned* learned) except -1
    cdef int follow_routes(self) except -1
