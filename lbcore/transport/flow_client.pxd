# A client's connection of many streams, whether by HTTP/2 or HTTP/3: each stream carries one exchange.

from libc.stdint cimport int64_t

from lbcore.http.fields cimport RequestFields
from lbcore.http.head cimport ClientAddress
from lbcore.http.span cimport Span
from lbcore.proxy.exchange cimport Dialer
from lbcore.transport.connection cimport ClientConnection
from lbcore.transport.flow cimport Flow, FlowSession
from lbcore.transport.request_stream cimport RequestStream
from lbcore.transport.socket cimport OwnedSocket, SocketOwner

cdef enum Shutdown:            # the graceful end of a connection
    SHUTDOWN_NOT = 0
    SHUTDOWN_NOTICE            # the client was asked to begin no more streams, and may not have read that yet
    SHUTDOWN_FINAL             # streams that begin now are not served


cdef class FlowConnection(ClientConnection):
    cdef FlowSession flows             # the session, which has the open streams
    cdef Dialer dialer
    cdef int version                   # of HTTP
    cdef ClientAddress address
    cdef bint encrypted                # the connection is TLS
    cdef const char* tls_version       # a constant; NULL without TLS
    cdef const char* tls_cipher        # likewise
    cdef bytes tls_subject             # subject of the client's certificate; None = it has none
    cdef tuple tls_chain               # all of its certificates, likewise
    cdef bytes server_name             # the name that the handshake asked for; None without TLS
    cdef bint trusted                  # the client may set the managed forwarding headers
    cdef bint is_open                  # streams are served
    cdef int shutdown                  # Shutdown
    cdef int64_t requests
    cdef int64_t opened_ms             # all times by the reactor's clock
    cdef int64_t idle_ms               # end of the last stream, or at first the opening
    cdef int64_t notice_until_ms       # end of SHUTDOWN_NOTICE

    cdef int take_field(self, Flow* flow, Span name, Span value) noexcept
    cdef int check(self) except -1
    cdef int begin_shutdown(self) except -1
    cdef int finish_shutdown(self) except -1
    cdef int end_streams(self) except -1

    # Implemented by the protocols
    cdef bint handshake_holds(self) noexcept
    cdef int answer_is_overdue(self) except -1
    cdef int submit_notice(self) except -1
    cdef int submit_goaway(self) except -1

    cdef inline bint reached_keep_alive_limit(self) noexcept:
        """Whether the connection has reached its greatest age or number of requests."""
        cdef int64_t most = self.entry_point.limits.keep_alive_max_requests
        if most and self.requests >= most:
            return True
        most = self.entry_point.limits.keep_alive_max_ms
        return most and self.flows.reactor.now_ms - self.opened_ms >= most


cdef class FlowTunnel(SocketOwner):
    cdef FlowStream stream             # None after the end
    cdef OwnedSocket upstream          # the server's end, owned
    cdef bint up_ended                 # the end of the client's bytes was passed on
    cdef bint down_ended               # the end of the server's bytes was passed on

    cdef int pump(self) except -1
    cdef bint pump_up(self) except *
    cdef bint lose_server(self) except *
    cdef bint pump_down(self) except *
    cdef int finish(self, bint broken) except -1


cdef class FlowStream(RequestStream):
    cdef FlowConnection connection     # None after the stream was closed
    cdef Flow flow
    cdef RequestFields fields
    cdef FlowTunnel tunnel             # after a switch of protocols; else None
    cdef bint begun                    # the exchange has begun, or was refused
    cdef bint request_ended            # the exchange has got all of the request
    cdef bint drops_body               # the answer consists of its head
    cdef int64_t answer_until_ms       # deadline of the answer, by the reactor's clock; 0 = none

    cdef int ready(self, int events) except -1
    cdef int begin(self) except -1
    cdef int refuse(self, int status, int error) except -1
    cdef int take(self) except -1
    cdef int closed(self) except -1
    cdef int limit_answer(self) except -1
    cdef int check(self, int64_t now_ms) except -1
    cdef int check_taken(self, int64_t now_ms) except -1
    cdef int failed(self, object error) except -1


cdef FlowStream stream_take(FlowConnection connection, int64_t stream_id)


cdef inline FlowStream stream_of(Flow* flow):
    """The stream of a flow; None for NULL."""
    return None if flow == NULL else <FlowStream>flow.owner
