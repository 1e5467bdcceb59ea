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
    cdef set connections       # ClientConnection; all open ones of the entry point
    cdef Reserve reserve       # how many there may be
    cdef object sock
    cdef OwnedSocket spare     # for the next connection: nothing that may fail stands between a descriptor and its owner
    cdef bint paused           # nothing can be accepted: no descriptors or memory

    cdef int pause(self, bint paused) except -1
    cdef int accept_one(self) except -1
    cdef int start(self, OwnedSocket socket, const Learned* learned) except -1
    cdef int serve_tcp(self) except -1
