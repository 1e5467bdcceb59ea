# HTTP/2 towards a client: a connection over a socket. Its streams are those of flow_client.

from libc.stdint cimport int64_t

from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.transport.connection cimport Learned
from lbcore.transport.flow_client cimport FlowConnection
from lbcore.transport.http2_session cimport Http2Session
from lbcore.transport.linger cimport Linger
from lbcore.transport.socket cimport OwnedSocket


cdef class Http2ClientSession(Http2Session):
    cdef Http2ClientConnection connection      # None after the connection was closed


cdef class Http2ClientConnection(FlowConnection):
    cdef OwnedSocket socket
    cdef Http2ClientSession session    # `flows`
    cdef bint lingers                  # the last frame is sent; input is discarded until the client closes
    cdef bint client_shuts_down        # the client has sent GOAWAY
    cdef int64_t stuck_until_ms        # when the connection ends unless the client takes what was sent before; 0 = it need not
    cdef int64_t section_ms            # time since which a head is incomplete, by the reactor's clock; 0 = none is
    cdef Linger lingering

    cdef int proceed(self) except -1
    cdef int limit_last(self) except -1
    cdef int stuck_by(self, int64_t after_ms) except -1
    cdef int linger(self) except -1
    cdef int read_past(self) except -1
    cdef int close(self) except -1


cdef int serve_http2(OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer, set connections) except -1
cdef bint http2_is_available() noexcept
