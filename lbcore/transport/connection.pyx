"""The interface of client connections to the worker, whatever their protocol: drain, abort, idle time."""

from libc.stdint cimport int64_t, uint64_t

from lbcore.routing.server cimport Server
from lbcore.transport.pool cimport Pool
from lbcore.transport.socket cimport SocketOwner


cdef uint64_t last_serial = 0  # of the sessions of this process


cdef uint64_t next_session() noexcept:
    """The number of a new session: no other one of this process gets it."""
    global last_serial
    last_serial += 1
    return last_serial


cdef uint64_t last_session() noexcept:
    return last_serial


cdef class ClientConnection(SocketOwner):
    """A connection of a client. Its maker sets `entry_point` and `connections`."""

    cdef void enter(self) noexcept:
        """Count this connection as open."""
        self.serial = next_session()
        self.entry_point.stats.accepted += 1
        self.entry_point.stats.open_connections += 1
        self.connections.add(self)

    cdef void leave(self) noexcept:
        """Stop counting this connection as open, and close those to servers that are its own."""
        cdef dict pools = self.own_pools
        self.entry_point.stats.open_connections -= 1
        self.connections.discard(self)
        if pools is not None:
            self.own_pools = None
            for pool in pools.values():
                (<Pool>pool).close()

    cdef Pool pool_of(self, Server server, bint make):
        """See `ClientStream.own_pool`."""
        cdef Pool pool
        if self.own_pools is None:
            if not make:
                return None
            self.own_pools = {}
        pool = self.own_pools.get(server)
        if pool is None and make:
            pool = self.own_pools[server] = Pool()
        return pool

    cdef int drain(self) except -1:
        """Accept nothing new: serve the requests that have arrived, then close."""
        return 0

    cdef int abort(self) except -1:
        """Close now. Exchanges under way end as if their client were lost."""
        return 0

    cdef int64_t idle_since_ms(self) noexcept:
        """The time since which no request has been under way, by the reactor's clock; -1 = one is under way."""
        return -1
