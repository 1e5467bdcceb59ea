# HTTP/1.1 towards a server: a connection, and its one stream at a time.

from libc.stdint cimport int64_t, uint32_t

from lbcore.http.message cimport Message
from lbcore.http.sink cimport Sink
from lbcore.http.span cimport Span
from lbcore.proxy.exchange cimport Exchange, ServerStream
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport UpstreamPolicy
from lbcore.transport.server_connection cimport ServerConnection
from lbcore.transport.http1_body cimport BodyReader
from lbcore.transport.pool cimport Pool
from lbcore.transport.socket cimport OwnedSocket

cdef enum ServerState:         # state of the connection; MOVES in the .pyx has the legal transitions
    SERVER_IDLE = 0            # the connection is in the pool, or new
    SERVER_BUSY                # the stream has an exchange
    SERVER_CLOSED              # the socket is closed, or was handed over


cdef class Http1ServerConnection(ServerConnection):
    cdef OwnedSocket socket
    cdef Http1ServerStream stream      # its only stream; refers back until the reactor has released the socket
    cdef UpstreamPolicy policy         # of the present exchange, or of the last one
    cdef Pool home                     # of the client for which it was authenticated, to which it goes back; None = the server's
    cdef int state                     # ServerState

    cdef int move(self, int state) except -1
    cdef int failed(self, int error) except -1
    cdef int stream_done(self, bint reusable) except -1
    cdef bint bind(self, Exchange exchange) except *


cdef class Drain(Sink):
    cdef int64_t left                  # bytes that it still takes
    cdef Message trailers              # what a body in chunks may end with

    cdef int put(self, Span data) except -1


cdef class Http1ServerStream(ServerStream):
    cdef Http1ServerConnection connection
    cdef OwnedSocket socket            # the connection's
    cdef bint in_body                  # the head of the final answer was read
    cdef Py_ssize_t seen               # bytes of an incomplete head that were parsed already
    cdef BodyReader body               # of the answer
    cdef bint chunking                 # the request's body is sent in chunks
    cdef bint sent                     # all of the request was put
    cdef bint keep_alive               # the head of the answer lets the connection be used again
    cdef bint bound                    # the exchange authenticates the connection
    cdef Drain drain                   # takes the rest of an answer that no exchange wants; None = the answer is wanted
    cdef bint waiting_continue         # the body waits for 100 Continue, or for CONTINUE_MS

    cdef int on_ready(self, uint32_t events) except -1
    cdef int on_timeout(self) except -1
    cdef bint was_heard(self) noexcept
    cdef int go_on(self) except -1
    cdef int read(self) except -1
    cdef int read_head(self) except -1
    cdef int interim(self) except -1
    cdef int read_body(self) except -1
    cdef int ended(self) except -1
    cdef int complete(self) except -1
    cdef int read_past(self) except -1


cdef Http1ServerConnection http1_to(Server server, OwnedSocket socket)
