# HTTP/2 towards a client: a connection, and the streams that it has open.

from libc.stdint cimport int64_t

from lbcore.http.fields cimport RequestFields
from lbcore.http.head cimport ClientAddress
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport ClientStream, Dialer
from lbcore.transport.connection cimport ClientConnection, Learned
from lbcore.transport.http2_session cimport Flow, Http2Session
from lbcore.transport.socket cimport OwnedSocket, SocketOwner

cdef enum Http2ClientState:
    HTTP2_OPEN = 0
    HTTP2_LINGERING            # the last frame is out; what the client still sends is read past, so that it gets that frame
    HTTP2_CLOSED

cdef enum Leaving:             # how far the end of a connection is that ends without hurry
    LEAVING_NOT = 0
    LEAVING_TOLD               # the client was told to begin no more streams, which it may not know yet
    LEAVING_FOR_GOOD           # streams that begin now are not served


cdef class Http2ClientSession(Http2Session):
    cdef Http2ClientConnection connection      # None once it has closed


cdef class Http2ClientConnection(ClientConnection):
    cdef OwnedSocket socket
    cdef Http2ClientSession session
    cdef Dialer dialer
    cdef Http2ClientStream first       # open streams; each refers to its neighbours
    cdef Py_ssize_t streams            # how many
    cdef ClientAddress address
    cdef bint encrypted                # the client speaks through a transport: TLS
    cdef const char* tls_version       # of it; a constant, NULL without TLS
    cdef const char* tls_cipher        # likewise
    cdef bytes tls_subject             # of the client's certificate; None without one
    cdef bytes server_name             # that it asked for; None without TLS
    cdef bint trusted                  # may set the managed forwarding headers
    cdef int state                     # Http2ClientState
    cdef int leaving                   # Leaving
    cdef bint client_leaves            # it has said that it begins no more streams
    cdef int64_t requests
    cdef int64_t opened_ms             # all times by the reactor's clock
    cdef int64_t idle_ms               # when the last stream ended; at first, when it was opened
    cdef int64_t section_ms            # since when a head is incomplete; 0: none is
    cdef int64_t leave_ms              # when LEAVING_TOLD ends
    cdef int64_t check_ms              # when the timer fires; 0: it is not set
    cdef int64_t linger_until_ms
    cdef Py_ssize_t lingered           # bytes read past

    cdef int check_by(self, int64_t until_ms) except -1
    cdef int check(self) except -1
    cdef int proceed(self) except -1
    cdef int leave_softly(self) except -1
    cdef int leave_for_good(self) except -1
    cdef int linger(self) except -1
    cdef int read_past(self) except -1
    cdef int end_streams(self) except -1
    cdef int close(self) except -1
    cdef void link(self, Http2ClientStream stream) noexcept
    cdef void unlink(self, Http2ClientStream stream) noexcept

    cdef inline bint reached_keep_alive_limit(self) noexcept:
        """As old, or as often used, as a connection may get."""
        cdef int64_t most = self.entry_point.limits.keep_alive_max_requests
        if most and self.requests >= most:
            return True
        most = self.entry_point.limits.keep_alive_max_ms
        return most and self.socket.reactor.now_ms - self.opened_ms >= most


cdef class Http2Tunnel(SocketOwner):
    cdef Http2ClientStream stream      # None once it is over
    cdef OwnedSocket upstream          # the server's end, owned
    cdef bint up_ended                 # the client has ended its side, and the server was told
    cdef bint down_ended               # the other way round

    cdef int pump(self) except -1
    cdef bint pump_up(self) except *
    cdef bint pump_down(self) except *
    cdef int finish(self, bint broken) except -1


cdef class Http2ClientStream(ClientStream):
    cdef Http2ClientConnection connection      # None once the stream is closed
    cdef Http2ClientStream newer       # neighbours among those of the connection
    cdef Http2ClientStream older       # also the next one of those that are kept for reuse
    cdef Flow flow
    cdef RequestFields fields
    cdef Http2Tunnel tunnel            # after a switch of protocols; None = there was none
    cdef bint begun                    # its exchange has begun, or was refused
    cdef bint told_end                 # the exchange knows that the request is complete
    cdef bint mute                     # the answer is said with its head: its body is dropped
    cdef bint continue_sent            # 100 Continue went out, or is not wanted
    cdef int64_t began_ms              # when the head was complete, by the reactor's clock
    cdef int64_t excused_ms            # of the time since then, the server has taken nothing
    cdef int64_t blocked_ms            # since when it takes nothing; 0 = it does
    cdef int64_t answer_until_ms       # when the answer has to be out; 0 = any time

    cdef int ready(self, int events) except -1
    cdef int begin(self) except -1
    cdef int refuse(self, int status, int error) except -1
    cdef int take(self) except -1
    cdef int closed(self) except -1
    cdef int limit_answer(self) except -1
    cdef int wait_for_server(self) except -1
    cdef int64_t patience_ms(self) noexcept
    cdef int check(self, int64_t now_ms) except -1
    cdef int failed(self, object error) except -1


cdef int serve_http2(OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer, set connections) except -1
cdef bint http2_is_available() noexcept
