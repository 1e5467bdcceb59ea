"""Idle connections to one server. No I/O."""

cimport cython

from lbcore.proxy.exchange cimport ServerStream


@cython.final
cdef class Pool:
    """Last in, first out, so that connections that are not needed stay idle until they time out. Every call is O(1)."""

    cdef ServerStream take(self):
        """The connection used last, or None."""
        cdef ServerStream stream = self.newest
        if stream is not None:
            self.remove(stream)
        return stream

    cdef int give(self, ServerStream stream, Py_ssize_t limit) except -1:
        """Keep an idle connection; beyond `limit` the one idle longest is closed."""
        if self.closed or limit <= 0:
            return stream.close()
        stream.pool = self
        stream.older = self.newest
        if self.newest is not None:
            self.newest.newer = stream
        else:
            self.oldest = stream
        self.newest = stream
        self.count += 1
        if self.count > limit:
            self.oldest.close()
        return 0

    cdef void remove(self, ServerStream stream) noexcept:
        """Take out a connection that lies here: because it is used, or closes."""
        if stream.newer is not None:
            stream.newer.older = stream.older
        else:
            self.newest = stream.older
        if stream.older is not None:
            stream.older.newer = stream.newer
        else:
            self.oldest = stream.newer
        stream.newer = None
        stream.older = None
        stream.pool = None
        self.count -= 1

    def close(self) -> None:
        """Close what is idle, and from now on everything that comes back."""
        self.closed = True
        while self.newest is not None:
            self.newest.close()

    def open(self) -> None:
        """Keep connections again: the server is back in the configuration."""
        self.closed = False
