"""The pool of connections to one server that can open a stream. No I/O."""

cimport cython

from lbcore.proxy.exchange cimport ServerStream
from lbcore.transport.server_connection cimport ServerConnection


@cython.final
cdef class Pool:
    """Last in, first out, so that surplus connections stay idle until they time out. Every call is O(1)."""

    cdef ServerStream open_stream(self):
        """A stream of the most recently used connection, or None. A connection that can open more streams stays in the pool."""
        cdef ServerConnection connection = self.newest
        cdef ServerStream stream
        if connection is None:
            return None
        stream = connection.open_stream()
        if connection.available == 0:
            self.remove(connection)
        return stream

    cdef int give(self, ServerConnection connection, Py_ssize_t limit) except -1:
        """Put a connection into the pool; above `limit` connections, the one that has been idle longest is closed."""
        if self.closed or limit <= 0:
            return connection.close()
        connection.pool = self
        connection.older = self.newest
        if self.newest is not None:
            self.newest.newer = connection
        else:
            self.oldest = connection
        self.newest = connection
        self.count += 1
        if self.count > limit:
            self.oldest.close()
        return 0

    cdef void remove(self, ServerConnection connection) noexcept:
        """Take a connection out of the pool, because it cannot open another stream, or closes."""
        if connection.newer is not None:
            connection.newer.older = connection.older
        else:
            self.newest = connection.older
        if connection.older is not None:
            connection.older.newer = connection.newer
        else:
            self.oldest = connection.newer
        connection.newer = None
        connection.older = None
        connection.pool = None
        self.count -= 1

    def close(self) -> None:
        """Close all connections in the pool, and from now on every connection that is given."""
        self.closed = True
        while self.newest is not None:
            self.newest.close()

    def open(self) -> None:
        """Keep connections again, because the server is back in the configuration."""
        self.closed = False
