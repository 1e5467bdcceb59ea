"""The interface of connections to servers, apart from their streams: HTTP/1 has one stream at a time, other protocols have many.

An exchange knows only streams; the pool holds connections, and opens streams on them.
"""

from lbcore.proxy.exchange cimport ServerStream
from lbcore.routing.service cimport UpstreamPolicy
from lbcore.transport.dial cimport Dial
from lbcore.transport.socket cimport SocketOwner


cdef class ServerConnection(SocketOwner):
    """Owns its socket, and makes `ServerStream`s."""

    cdef ServerStream open_stream(self):
        """A stream for one more exchange; `available` decreases, and at 0 the connection leaves its pool."""
        return None

    cdef int await_streams(self, Dial dial, UpstreamPolicy policy) except -1:
        """Call `dial.offered` as soon as a stream can be opened, or `dial.failed`, by the policy's time limits. For a connection
        that can open none at first."""
        return 0

    cdef int go_on(self) except -1:
        """Process bytes that were received already, for which no event will come. Called after the first stream has started."""
        return 0

    cdef int close(self) except -1:
        """Close at once. Exchanges under way get no call. Safe to call twice."""
        return 0
