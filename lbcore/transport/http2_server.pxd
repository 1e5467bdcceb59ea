# HTTP/2 towards a server: a connection, and the streams that are open on it.

from libc.stdint cimport int64_t

from lbcore.http.buffer cimport Buffer
from lbcore.proxy.exchange cimport Exchange, ServerStream
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport UpstreamPolicy
from lbcore.transport.http2_session cimport Flow, Http2Session
from lbcore.transport.server_connection cimport ServerConnection
from lbcore.transport.socket cimport OwnedSocket


cdef class Http2ServerSession(Http2Session):
    cdef Http2ServerConnection connection      # None once it has closed


cdef class Http2ServerConnection(ServerConnection):
    cdef OwnedSocket socket
    cdef Http2ServerSession session
    cdef UpstreamPolicy policy         # of the latest exchange
    cdef Http2ServerStream first       # open streams; each refers to its neighbours
    cdef Py_ssize_t streams            # how many
    cdef Py_ssize_t most               # the server allows at a time
    cdef bint encrypted
    cdef bint leaving                  # no stream begins any more: the server has said so, or the connection is not wanted
    cdef bint closed
    cdef int64_t heard_ms              # when bytes of the server came last; all times by the reactor's clock
    cdef int64_t asked_ms              # when it was sent a PING that it has not answered; 0 = it was not
    cdef int64_t idle_ms               # when the last stream ended
    cdef int64_t check_ms              # when the timer fires; 0 = it is not set
    cdef Buffer text                   # a head as HTTP/1 writes it, while it is listed

    cdef int check_by(self, int64_t until_ms) except -1
    cdef int check(self) except -1
    cdef int proceed(self) except -1
    cdef int settle(self) except -1
    cdef int stream_over(self, Http2ServerStream stream) except -1
    cdef int failed(self, int error) except -1
    cdef int shut(self) except -1


cdef class Http2ServerStream(ServerStream):
    cdef Http2ServerConnection connection      # None once the stream is over
    cdef Http2ServerStream newer       # neighbours among those of the connection
    cdef Http2ServerStream older
    cdef Flow flow
    cdef bint linked                   # it is among those of the connection
    cdef bint first_used               # the connection had answered before: it may have died unnoticed
    cdef bint heard                    # something of an answer has come
    cdef bint malformed                # the head of the answer
    cdef bint in_body                  # the final head of the answer has been passed on
    cdef bint sent                     # the request is complete, all of it was put
    cdef bint refused                  # the server has said that it has not looked at the request
    cdef int interims                  # 1xx answers to the request
    cdef int64_t answer_until_ms       # when the head of the answer has to be here; 0 = any time

    cdef int ready(self, int events) except -1
    cdef int read_head(self) except -1
    cdef int read_body(self) except -1
    cdef int complete(self) except -1
    cdef int over(self, int events) except -1
    cdef int fail(self, int error) except -1
    cdef int await_answer(self) except -1
    cdef void section_complete(self) noexcept


cdef ServerConnection http2_to(Server server, OwnedSocket socket)
