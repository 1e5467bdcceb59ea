"""The descriptors of this process: the share of clients, and what is closed when none is left.

For every accepted client there is a descriptor for a connection to a server, so that it can be served. Clients therefore get half of
the process's limit, less what the process itself needs. Pipes and copies for mirrors use the rest if there is any, and do without
otherwise. When the share of clients is used up, and whenever no descriptor is left, the connections that have been idle longest
are closed: first those to servers, because a new one costs a client only time, then those of clients.
"""

import os
import resource

cimport cython
from libc.stdint cimport int64_t

from lbcore.routing.server cimport Server
from lbcore.transport.connection cimport ClientConnection
from lbcore.transport.pool cimport Pool

cdef enum:
    SPARE = 16                 # besides those open at the start: files that are opened at times, resolvers
    CLOSED_AT_ONCE = 32        # idle connections closed together, which saves searching for each

cdef Py_ssize_t UNLIMITED = <Py_ssize_t>1 << 40


@cython.final
cdef class Reserve(Relief):
    """The descriptors of one worker."""

    def __init__(self, list connections):
        self.connections = connections
        self.servers = {}
        try:
            self.others = len(os.listdir("/proc/self/fd")) + SPARE
        except OSError:
            self.others = 4 * SPARE
        self.measure()

    cdef void measure(self) noexcept:
        """Read the limit again, because it may be changed from outside."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.most = UNLIMITED if limit == resource.RLIM_INFINITY else max(1, (limit - self.others) // 2)

    cdef bint has_room(self) noexcept:
        """Whether one more client may be accepted."""
        return self.clients() < self.most

    cdef Py_ssize_t clients(self) noexcept:
        cdef Py_ssize_t count = 0
        for found in self.connections:
            count += len(<set>found)
        return count

    cdef bint make_room(self) except *:
        """Close idle connections. Returns False if there are none, so that no descriptor has become free."""
        cdef Py_ssize_t closed
        self.measure()
        if self.clients() >= self.most:
            closed = self.close_idle()
        else:
            closed = self.close_pooled() or self.close_idle()
        self.shed += closed
        return closed > 0

    cdef Py_ssize_t close_pooled(self) except -1:
        """Close the connection that has been idle longest in each server's pool. Returns their number."""
        cdef Server server
        cdef Pool pool
        cdef Py_ssize_t closed = 0
        for server in self.servers.values():
            pool = <Pool>server.pool
            if pool is not None and pool.oldest is not None:
                pool.oldest.close()
                closed += 1
                if closed == CLOSED_AT_ONCE:
                    break
        return closed

    cdef Py_ssize_t close_idle(self) except -1:
        """Close the clients that have been idle longest, up to CLOSED_AT_ONCE. Returns their number."""
        cdef int64_t since_ms
        idle = []
        for found in self.connections:
            for item in <set>found:
                since_ms = (<ClientConnection>item).idle_since_ms()
                if since_ms >= 0:
                    idle.append((since_ms, id(item), item))
        idle.sort()
        del idle[max(1, min(CLOSED_AT_ONCE, len(idle) // 8)):]
        for _, _, item in idle:
            (<ClientConnection>item).abort()
        return len(idle)
