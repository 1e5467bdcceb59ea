# HTTP/2 towards a server: a connection, and the streams that are open on it.

from libc.stdint cimport int64_t

from lbcore.proxy.exchange cimport ServerStream
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport UpstreamPolicy
from lbcore.transport.flow cimport Flow
from lbcore.transport.http2_session cimport Http2Session
from lbcore.transport.server_connection cimport ServerConnection
from lbcore.transport.socket cimport OwnedSocket


cdef class Http2ServerSession(Http2Session):
    cdef Http2ServerConnection connection      # None after the connection was closed


cdef class Http2ServerConnection(ServerConnection):
    cdef OwnedSocket socket
    cdef Http2ServerSession session    # has the open streams
    cdef UpstreamPolicy policy         # of the latest exchange
    cdef Py_ssize_t most               # most open streams that the server allows; 0 until its SETTINGS have arrived
    cdef int64_t opens_until_ms        # deadline of the first stream, while there is a `dial`; 0 = none
    cdef bint encrypted
    cdef bint takes_connect            # the server allows requests for another protocol (RFC 8441)
    cdef bint allows_fewer             # than are open, or none any more: requests that were not sent have to go elsewhere
    cdef bint ending                   # no stream begins any more: the server has sent GOAWAY, or the connection is not needed
    cdef bint closed
    cdef int64_t heard_ms              # arrival of the last bytes; all times by the reactor's clock
    cdef int64_t asked_ms              # time of a PING that is not acknowledged; 0 = there is none
    cdef int64_t idle_ms               # end of the last stream

    cdef int check(self) except -1
    cdef int proceed(self) except -1
    cdef int settle(self) except -1
    cdef int follow_limit(self) except -1
    cdef int stream_closed(self, Http2ServerStream stream) except -1
    cdef int failed(self, int error) except -1
    cdef Http2ServerStream incomplete(self)
    cdef int shut(self) except -1


cdef class Http2ServerStream(ServerStream):
    cdef Http2ServerConnection connection      # None after the stream was closed
    cdef Flow flow
    cdef bint first_used               # the connection had answered before: it may have died unnoticed
    cdef bint heard                    # a part of an answer has arrived
    cdef bint malformed                # the head of the answer is invalid
    cdef bint in_body                  # the final head of the answer was passed on
    cdef bint sent                     # all of the request was put
    cdef bint refused                  # the server has refused the request unprocessed
    cdef bint asks_to_switch           # the request asks for a websocket, as an extended CONNECT
    cdef bint switched                 # the server has agreed: what follows is no body
    cdef OwnedSocket tunnel            # whose bytes are those of the stream, after the switch; None: not taken, or shut
    cdef int64_t answer_until_ms       # deadline of the answer's head, by the reactor's clock; 0 = none

    cdef int ready(self, int events) except -1
    cdef bint has_tunnel(self) noexcept
    cdef int tell_tunnel(self, int events) except -1
    cdef int switch(self) except -1
    cdef int left(self) except -1
    cdef int read_head(self) except -1
    cdef int read_body(self) except -1
    cdef int complete(self) except -1
    cdef int end_if_closed(self) except -1
    cdef int fail(self, int error) except -1
    cdef int await_answer(self) except -1
    cdef void section_complete(self) noexcept


cdef ServerConnection http2_to(Server server, OwnedSocket socket)
