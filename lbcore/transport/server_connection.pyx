"""A connection to a server apart from the streams it carries: HTTP/1 has one stream at a time, other protocols have many.

An exchange knows streams alone; the pool holds connections, and gives streams.
"""

from lbcore.proxy.exchange cimport ServerStream
from lbcore.transport.socket cimport SocketOwner


cdef class ServerConnection(SocketOwner):
    """Owns its socket, and makes `ServerStream`s."""

    cdef ServerStream open_stream(self):
        """A stream for one more exchange; `available` counts down. The connection is not in a pool any more when that is 0."""
        return None

    cdef int go_on(self) except -1:
        """Take what has come already: no event will tell of it. Called once the first stream of a new connection has started."""
        return 0

    cdef int close(self) except -1:
        """Close at once. Exchanges under way are not told. Safe to call twice."""
        return 0
