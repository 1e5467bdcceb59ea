"""The descriptors of this process: the share of clients, and what is closed when none is left.

For every accepted client there is a descriptor for a connection to a server, so that it can be served. Clients therefore get half of
the process's limit, less what the process itself needs. Pipes and copies for mirrors use the rest if there is any, and do without
otherwise. When the share of clients is used up, and whenever no descriptor is left, the connections that have been idle longest
are closed: first those to servers, because a new one costs a client only time, then those of clients.
"""

import os
import resource
import time
from weakref import ref

cimport cython
from libc.stdint cimport int64_t

from lbcore.routing.server cimport Server
from lbcore.state.region cimport Region
from lbcore.transport.connection cimport ClientConnection
from lbcore.transport.pool cimport Pool

cdef enum:
    SPARE = 16                 # besides those open at the start: files that are opened at times, resolvers
    CLOSED_AT_ONCE = 32        # idle connections closed together, which saves searching for each

cdef Py_ssize_t UNLIMITED = <Py_ssize_t>1 << 40
cdef double PAUSE_S = 0.05          # when nothing was idle, until it is looked for again


@cython.final
cdef class Reserve(Relief):
    """The descriptors of one worker."""

    def __init__(self, list connections, Region region, worker: int):
        region.check_worker(worker)
        self.connections = connections
        self.region = region
        self.row = region.worker(worker)
        self.servers = {}
        self.idle = []
        self.pools = []
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
        """The number of clients. Two sessions of UDP count as one, because they have one descriptor each."""
        cdef Py_ssize_t count = (self.sessions + 1) // 2
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
        self.row.connections_shed += closed
        return closed > 0

    cdef Py_ssize_t close_pooled(self) except -1:
        """Close the connection that has been idle longest in the pools of a few servers. Returns their number.

        The servers with a pool are looked for once, and taken one after the other by the calls that follow.
        """
        cdef Server server
        cdef Pool pool
        cdef Py_ssize_t closed = 0
        if not self.pools and time.monotonic() >= self.pools_again_s:
            for server in self.servers.values():
                pool = <Pool>server.pool
                if pool is not None and pool.oldest is not None:
                    self.pools.append(pool)
            if not self.pools:
                self.pools_again_s = time.monotonic() + PAUSE_S
        while self.pools and closed < CLOSED_AT_ONCE:
            pool = <Pool>self.pools.pop()
            if pool.oldest is not None:
                pool.oldest.close()
                closed += 1
        return closed

    cdef Py_ssize_t close_idle(self) except -1:
        """Close a few of the clients that have been idle longest. Returns their number.

        They are looked for once, and taken by the calls that follow: of those that became idle later, none has been
        idle for longer. So a connection costs O(log n) of them, however many there are.
        """
        cdef ClientConnection connection
        cdef int64_t since_ms
        cdef Py_ssize_t closed = 0
        cdef bint looked = False
        while closed == 0:
            if not self.idle:
                if looked or time.monotonic() < self.idle_again_s:
                    break
                looked = True
                self.look_for_idle()
                if not self.idle:
                    self.idle_again_s = time.monotonic() + PAUSE_S
            while self.idle and closed < self.at_once:
                since, _, item = self.idle.pop()
                since_ms, connection = since, item()
                # It may have closed, or served a request, in the meantime.
                if connection is not None and connection in connection.connections and connection.idle_since_ms() == since_ms:
                    connection.abort()
                    closed += 1
        return closed

    cdef int look_for_idle(self) except -1:
        """Note the clients that are idle, those that have been for longest last."""
        cdef int64_t since_ms
        for found in self.connections:
            for item in <set>found:
                since_ms = (<ClientConnection>item).idle_since_ms()
                if since_ms >= 0:
                    self.idle.append((since_ms, id(item), ref(item)))
        self.idle.sort(reverse=True)
        self.at_once = max(1, min(CLOSED_AT_ONCE, len(self.idle) // 8))
        return 0
