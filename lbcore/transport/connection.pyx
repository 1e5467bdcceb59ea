"""A client's connection as the worker knows it, whatever it speaks: it can be drained, aborted, and asked if it is idle."""

from libc.stdint cimport int64_t

from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.transport.socket cimport OwnedSocket, SocketOwner


cdef class ClientConnection(SocketOwner):
    """The listener makes one for every descriptor it accepts; `entry_point` and `connections` are set by whoever makes it."""

    cdef void enter(self) noexcept:
        """Be counted as open."""
        self.entry_point.stats.accepted += 1
        self.entry_point.stats.open_connections += 1
        self.connections.add(self)

    cdef void leave(self) noexcept:
        """Be open no more."""
        self.entry_point.stats.open_connections -= 1
        self.connections.discard(self)

    cdef int drain(self) except -1:
        """Take nothing new: serve what has arrived, and close when that has ended."""
        return 0

    cdef int abort(self) except -1:
        """Close now; whatever is under way is told that its client is lost."""
        return 0

    cdef int64_t idle_since_ms(self) noexcept:
        """Since when, by the reactor's clock, nothing has been under way. -1: something is."""
        return -1
