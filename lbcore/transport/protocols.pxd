# The choice of the connection that serves a client's socket.

from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.transport.connection cimport Learned
from lbcore.transport.socket cimport OwnedSocket


cdef int serve_socket(OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer, set connections) except -1
