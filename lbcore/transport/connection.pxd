# The interface of client connections to the worker, whatever their protocol; and what is learned before the protocol is known.

from libc.stdint cimport int64_t, uint64_t

from lbcore.http.head cimport ClientAddress
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.routing.server cimport Server
from lbcore.transport.pool cimport Pool
from lbcore.transport.socket cimport SocketOwner


cdef struct Learned:
    ClientAddress client       # the address of the peer, or the one in a trusted PROXY header
    ClientAddress local        # the address to which the client connected, from a PROXY header; `text_len` 0 = ask the kernel
    bint postgres              # the client sent PostgreSQL's SSLRequest, and TLS follows
    bint encrypted             # the socket has a transport, which is an EncryptedTransport


cdef class ClientConnection(SocketOwner):
    cdef object __weakref__    # `Reserve` knows idle connections, and keeps none
    cdef EntryPoint entry_point
    cdef uint64_t serial               # from `next_session`; 0 before `enter`
    cdef set connections       # all open connections of the entry point; includes this one from `enter` to `leave`
    cdef dict own_pools        # by Server: the Pool of connections that were authenticated for this client; None = there is none

    cdef void enter(self) noexcept
    cdef void leave(self) noexcept
    cdef Pool pool_of(self, Server server, bint make)
    cdef int drain(self) except -1
    cdef int abort(self) except -1
    cdef int64_t idle_since_ms(self) noexcept


cdef uint64_t next_session() noexcept
cdef uint64_t last_session() noexcept
