"""Which connection serves a socket, by what was learned of it: a router of layer 4 that takes it, else HTTP.

The one place that knows all protocols towards clients. What an entry point speaks, and later what ALPN agreed on, ends here.
"""

from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.transport.connection cimport Learned
from lbcore.transport.http1_client cimport serve_http1
from lbcore.transport.socket cimport OwnedSocket
from lbcore.transport.tcp_client cimport serve_tcp


cdef int serve_socket(OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer, set connections) except -1:
    """Start the connection that a socket is, in the reactor, with what it has received already. It becomes the socket's owner.

    An error ends in that connection; what is raised comes from before there was one, and the socket is the caller's still.
    """
    if entry_point.tcp is not None and not learned.encrypted and serve_tcp(socket, learned, entry_point, dialer, connections):
        return 0
    return serve_http1(socket, learned, entry_point, dialer, connections)
