"""The choice of the connection that serves a client's socket: a router of layer 4 that matches, else HTTP.

The one place that knows all protocols towards clients: what an entry point speaks, and what ALPN agreed on, ends here. HTTP/2
without TLS is seen by its first bytes, which no request of HTTP/1 has: `Http1ClientConnection` hands the socket on.
"""

from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.transport.connection cimport Learned
from lbcore.transport.encryption cimport EncryptedTransport
from lbcore.transport.http1_client cimport serve_http1
from lbcore.transport.http2_client cimport serve_http2
from lbcore.transport.socket cimport OwnedSocket
from lbcore.transport.tcp_client cimport serve_tcp


cdef int serve_socket(OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer, set connections) except -1:
    """Start the connection for a socket that is in the reactor and may have received bytes. The connection becomes its owner.

    The connection handles its own errors. If this raises, there is no connection, and the caller still owns the socket.
    """
    if entry_point.tcp is not None and not learned.encrypted and serve_tcp(socket, learned, entry_point, dialer, connections):
        return 0
    if learned.encrypted and (<EncryptedTransport>socket.transport).protocol == b"h2":
        return serve_http2(socket, learned, entry_point, dialer, connections)
    return serve_http1(socket, learned, entry_point, dialer, connections)
