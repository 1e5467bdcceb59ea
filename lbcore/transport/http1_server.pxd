# HTTP/1.1 towards a server: one connection, one exchange at a time.

from libc.stdint cimport int64_t, uint32_t

from lbcore.http.framing cimport ChunkDecoder
from lbcore.http.span cimport Span
from lbcore.proxy.exchange cimport Exchange, ServerStream
from lbcore.routing.service cimport UpstreamPolicy
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.socket cimport Socket
from lbcore.transport.splice cimport Pipe

cdef enum ServerState:
    SERVER_CONNECTING = 0      # also: its name is being resolved
    SERVER_IDLE
    SERVER_HEAD                # a request is on its way, the answer's head is awaited
    SERVER_BODY                # the answer's body comes
    SERVER_TRAILERS
    SERVER_TUNNEL
    SERVER_CLOSED


cdef class ServerSocket(Socket):
    cdef Http1Server http


cdef class Http1Server(ServerStream):
    cdef ServerSocket socket
    cdef UpstreamPolicy policy
    cdef tuple addresses       # of the server, packed
    cdef Py_ssize_t tried      # of these
    cdef int64_t until_ms      # when one of them must have taken the connection, by the reactor's clock; 0 = any time
    cdef int state             # ServerState
    cdef Py_ssize_t seen       # bytes of an incomplete head that were parsed already
    cdef int64_t left          # of a body with a length
    cdef ChunkDecoder decoder
    cdef bint chunking         # the request's body goes out in chunks
    cdef bint sent             # the request is complete, all of it was put
    cdef int interims          # 1xx answers to the request at work
    cdef bint waiting_continue # the body waits for 100 Continue, or for CONTINUE_MS
    cdef Pipe* pipe            # while a body is spliced

    cdef int on_ready(self, uint32_t events) except -1
    cdef int on_timeout(self) except -1
    cdef void new_socket(self) noexcept
    cdef int connect(self, Reactor reactor, tuple addresses) except -1
    cdef int connect_another(self, Reactor reactor) except -1
    cdef int give_up_address(self) except -1
    cdef int begin(self) except -1
    cdef int failed(self, int error) except -1
    cdef int read(self) except -1
    cdef int process(self) except -1
    cdef int read_head(self) except -1
    cdef int interim(self) except -1
    cdef int read_chunks(self) except -1
    cdef int read_trailers(self) except -1
    cdef bint splice_body(self) except *
    cdef int at_end_of_input(self) except -1
    cdef int complete(self, bint with_trailers) except -1
    cdef int connect_event(self, uint32_t events) except -1
    cdef int go_on(self) except -1
