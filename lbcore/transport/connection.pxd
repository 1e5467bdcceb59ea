# A client's connection as the worker knows it, whatever it speaks; and what was learned of it before it was known.

from libc.stdint cimport int64_t

from lbcore.http.head cimport ClientAddress
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.transport.socket cimport OwnedSocket, SocketOwner


cdef struct Learned:
    ClientAddress client       # the address of the other end, or the one that a trusted proxy gave
    ClientAddress local        # what it connected to, where that was said; `text_len` 0: the kernel knows
    bint encrypted             # the bytes of the protocol are those of a transport, which is an EncryptedTransport


cdef class ClientConnection(SocketOwner):
    cdef EntryPoint entry_point
    cdef set connections       # all open ones of the entry point; this one is in it from `enter` to `leave`

    cdef void enter(self) noexcept
    cdef void leave(self) noexcept
    cdef int drain(self) except -1
    cdef int abort(self) except -1
    cdef int64_t idle_since_ms(self) noexcept
