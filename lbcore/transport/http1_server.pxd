# HTTP/1.1 towards a server: a connection, and the one stream it has at a time.

from libc.stdint cimport uint32_t

from lbcore.proxy.exchange cimport Exchange, ServerStream
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport UpstreamPolicy
from lbcore.transport.server_connection cimport ServerConnection
from lbcore.transport.http1_body cimport BodyReader
from lbcore.transport.socket cimport OwnedSocket

cdef enum ServerState:         # of the connection; MOVES in the .pyx says what may follow what
    SERVER_IDLE = 0            # in the pool, or new
    SERVER_BUSY                # the stream has an exchange
    SERVER_CLOSED              # or its socket was given away


cdef class Http1ServerConnection(ServerConnection):
    cdef OwnedSocket socket
    cdef Http1ServerStream stream      # the one there is; they refer to each other until the reactor has released the socket
    cdef UpstreamPolicy policy         # of the exchange at work, or of the last one
    cdef int state                     # ServerState

    cdef int move(self, int state) except -1
    cdef int failed(self, int error) except -1
    cdef int stream_done(self, bint reusable) except -1


cdef class Http1ServerStream(ServerStream):
    cdef Http1ServerConnection connection
    cdef OwnedSocket socket            # the connection's
    cdef bint in_body                  # the answer's final head has been read
    cdef Py_ssize_t seen               # bytes of an incomplete head that were parsed already
    cdef BodyReader body               # of the answer
    cdef bint chunking                 # the request's body goes out in chunks
    cdef bint sent                     # the request is complete, all of it was put
    cdef int interims                  # 1xx answers to the request at work
    cdef bint waiting_continue         # the body waits for 100 Continue, or for CONTINUE_MS

    cdef int on_ready(self, uint32_t events) except -1
    cdef int on_timeout(self) except -1
    cdef bint was_heard(self) noexcept
    cdef int go_on(self) except -1
    cdef int read(self) except -1
    cdef int read_head(self) except -1
    cdef int interim(self) except -1
    cdef int read_body(self) except -1
    cdef int ended(self, bint broken) except -1
    cdef int complete(self) except -1


cdef Http1ServerConnection http1_to(Server server, OwnedSocket socket)
