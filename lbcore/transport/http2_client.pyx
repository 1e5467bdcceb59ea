"""HTTP/2 towards a client (RFC 9113): a connection over a socket, and its session. The streams are those of `flow_client`."""

import logging

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from lbcore.http.buffer cimport buffer_len
from lbcore.http.span cimport Span
from lbcore.http2.nghttp2 cimport *
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.state.layout cimport ERROR_ABUSE, ERROR_BAD_REQUEST, ERROR_CLIENT_TIMEOUT
from lbcore.transport.connection cimport Learned
from lbcore.transport.encryption cimport EncryptedTransport, Encryption
from lbcore.transport.epoll cimport EPOLLIN
from lbcore.transport.flow cimport Flow
from lbcore.transport.flow_client cimport SHUTDOWN_FINAL, SHUTDOWN_NOT, SHUTDOWN_NOTICE, FlowConnection, FlowStream, stream_take
from lbcore.transport.http2_session cimport Http2Session
from lbcore.transport.linger cimport linger_begin, linger_read
from lbcore.transport.socket cimport OwnedSocket

cdef enum:
    STUCK_MS = 1000            # time in which a client takes what was sent to it, when an answer is overdue ...
    LAST_MS = 10_000           # ... and when nothing is left to be done on its connection

_log = logging.getLogger("lbcore.transport")


cdef bint http2_is_available() noexcept:
    """Whether the library for HTTP/2 can be loaded."""
    try:
        return load()
    except Exception as error:
        _log.error("HTTP/2 is not spoken: %s", error)
        return False


cdef int serve_http2(OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer,
                     set connections) except -1:
    """Start an HTTP/2 connection on a socket in the reactor. Bytes in its input are the beginning of the preface."""
    cdef Http2ClientConnection connection = Http2ClientConnection.__new__(Http2ClientConnection)
    cdef Http2ClientSession session = Http2ClientSession.__new__(Http2ClientSession)
    cdef EncryptedTransport transport
    load()
    connection.version = 2
    connection.address = learned.client
    if learned.encrypted:
        transport = <EncryptedTransport>socket.transport
        connection.encrypted = True
        connection.tls_version, connection.tls_cipher = transport.version, transport.cipher
        connection.tls_subject, connection.tls_chain = transport.client_subject, transport.client_chain
        connection.server_name = transport.server_name
    connection.entry_point = entry_point
    connection.dialer = dialer
    connection.connections = connections
    connection.socket = socket
    connection.trusted = entry_point.trusted.hold(&connection.address)
    connection.opened_ms = connection.idle_ms = socket.reactor.now_ms
    connection.session = session
    connection.flows = session
    connection.is_open = True
    session.connection = connection
    session.bytes_in = buffer_len(&socket.input)
    session.open(socket, True, entry_point.http2.streams, entry_point.http2.decoder_bytes, entry_point.http2.encoder_bytes)
    socket.owner = connection
    connection.enter()
    try:
        session.check_by(connection.opened_ms)         # `check` then sets the timer by the limits
        if entry_point.draining:
            connection.begin_shutdown()                # its handshake, or its preface, had begun before the drain
        connection.socket_ready(socket, 0 if connection.encrypted else EPOLLIN)
    except Exception as error:
        connection.socket_failed(socket, error)
    return 0


@cython.final
cdef class Http2ClientSession(Http2Session):
    """The session of a connection: field sections become requests."""

    cdef Flow* begin_section(self, int32_t stream_id) noexcept:
        cdef FlowStream stream
        try:
            stream = stream_take(self.connection, stream_id)
        except Exception:
            return NULL
        return &stream.flow

    cdef int take_field(self, Flow* flow, Span name, Span value) noexcept:
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE if self.connection.take_field(flow, name, value) < 0 else 0

    cdef void frame_received(self, const FrameHead* frame) noexcept:
        cdef Http2ClientConnection connection = self.connection
        if frame.type == NGHTTP2_PING and frame.flags & NGHTTP2_FLAG_END_STREAM and connection.shutdown == SHUTDOWN_NOTICE:
            connection.notice_until_ms = 0     # the client has read the GOAWAY that was sent before the acknowledged PING
        elif frame.type == NGHTTP2_GOAWAY:
            connection.client_shuts_down = True

    cdef int flow_ready(self, Flow* flow, uint8_t events) except -1:
        cdef FlowStream stream = <FlowStream>flow.owner
        try:
            return stream.ready(events)
        except Exception as error:
            return stream.failed(error)

    cdef int after_send(self) except -1:
        return 0 if self.connection is None else self.connection.proceed()


@cython.final
cdef class Http2ClientConnection(FlowConnection):
    """A connection of HTTP/2. `serve_http2` makes it."""

    # Events

    cdef int socket_ready(self, OwnedSocket socket, uint32_t events) except -1:
        cdef Http2ClientSession session = self.session
        events = socket.note(events)
        if self.lingers:
            return self.read_past()
        if not self.is_open:
            return 0
        session.socket_event(events)
        if session.section == NULL:
            self.section_ms = 0
        elif self.section_ms == 0:
            self.section_ms = socket.reactor.now_ms
            if self.entry_point.limits.header_timeout_ms:
                session.check_by(self.section_ms + self.entry_point.limits.header_timeout_ms)
        return self.proceed()

    cdef int proceed(self) except -1:
        """Count what was received and sent, and close if the session has ended."""
        cdef Http2ClientSession session = self.session
        self.entry_point.stats.bytes_in += session.bytes_in
        self.entry_point.stats.bytes_out += session.bytes_out
        session.bytes_in = session.bytes_out = 0
        if not session.blocked:
            self.stuck_until_ms = 0
        if not self.is_open:
            return 0
        if session.broken:
            return self.abort()
        if session.ended:
            session.send()             # complete answers
            return self.abort()
        if self.shutdown == SHUTDOWN_NOTICE and self.notice_until_ms == 0:
            self.finish_shutdown()
        if session.blocked:
            return self.limit_last()
        return self.linger() if session.is_finished() else 0

    cdef int socket_timeout(self, OwnedSocket socket) except -1:
        self.session.check_ms = 0
        if self.lingers:
            return self.close()
        return self.check() if self.is_open else 0

    cdef void socket_failed(self, OwnedSocket socket, object error) noexcept:
        _log.error("internal error on a connection of entry point %s", self.entry_point.name, exc_info=error)
        try:
            self.abort()
        except Exception as again:
            _log.error("internal error while ending an exchange", exc_info=again)

    cdef void socket_released(self, OwnedSocket socket) noexcept:
        if not self.is_open and not self.lingers:
            self.session.connection = None
            self.session.free()

    cdef int check(self) except -1:
        cdef int64_t limit_ms = self.entry_point.limits.header_timeout_ms
        if self.section_ms and limit_ms:
            if self.socket.reactor.now_ms >= self.section_ms + limit_ms:
                self.entry_point.stats.errors[<int>ERROR_CLIENT_TIMEOUT] += 1
                return self.abort()
            self.session.check_by(self.section_ms + limit_ms)
        if self.stuck_until_ms:
            if self.socket.reactor.now_ms >= self.stuck_until_ms:
                self.entry_point.stats.errors[<int>ERROR_CLIENT_TIMEOUT] += 1
                return self.abort()
            self.session.check_by(self.stuck_until_ms)
        FlowConnection.check(self)
        return self.limit_last() if self.is_open and self.session.blocked else 0

    cdef int limit_last(self) except -1:
        """Wait with an end for what the client has not taken, if nothing else is left, or will be done, for it."""
        if self.session.abused or self.shutdown == SHUTDOWN_FINAL and self.session.open_flows == 0:
            return self.stuck_by(LAST_MS)
        return 0

    cdef bint handshake_holds(self) noexcept:
        return (<EncryptedTransport>self.socket.transport).holds_under(<Encryption>self.entry_point.encryption)

    cdef int answer_is_overdue(self) except -1:
        # Without room for it the client cannot hear that the stream has ended.
        return self.stuck_by(STUCK_MS) if self.session.blocked else 0

    cdef int stuck_by(self, int64_t after_ms) except -1:
        """End the connection after a time, unless the client takes what was sent before."""
        if self.stuck_until_ms:
            return 0
        self.stuck_until_ms = self.socket.reactor.now_ms + after_ms
        return self.session.check_by(self.stuck_until_ms)

    # The end

    cdef int submit_notice(self) except -1:
        # An acknowledged PING shows that the client has read the GOAWAY before it.
        self.session.graceful = True
        nghttp2_submit_shutdown_notice(self.session.session)
        nghttp2_submit_ping(self.session.session, NGHTTP2_FLAG_NONE, NULL)
        return 0

    cdef int submit_goaway(self) except -1:
        self.session.graceful = False
        nghttp2_submit_goaway(self.session.session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(self.session.session), NGHTTP2_NO_ERROR, NULL, 0)
        return 0

    cdef int linger(self) except -1:
        """Close in a way that the client gets the last frame."""
        if self.session.abused:
            self.entry_point.stats.errors[<int>ERROR_ABUSE] += 1
        elif self.shutdown == SHUTDOWN_NOT and not self.client_shuts_down:
            self.entry_point.stats.errors[<int>ERROR_BAD_REQUEST] += 1     # the library has ended the session
        self.end_streams()
        if self.session.ended or self.socket.hangup:
            return self.close()
        self.is_open = False
        self.lingers = True
        linger_begin(&self.lingering, self.socket)
        return self.read_past()

    cdef int read_past(self) except -1:
        return 0 if linger_read(&self.lingering, self.socket) else self.close()

    cdef int abort(self) except -1:
        """Abort the exchanges under way, because the client is lost, and close."""
        if not self.is_open:
            return self.close()
        if self.session.abused:
            self.entry_point.stats.errors[<int>ERROR_ABUSE] += 1
        elif self.session.failed:
            self.entry_point.stats.errors[<int>ERROR_BAD_REQUEST] += 1
        try:
            self.end_streams()
        finally:
            self.close()
        return 0

    cdef int close(self) except -1:
        """Safe to call twice."""
        if not self.is_open and not self.lingers:
            return 0
        self.is_open = self.lingers = False
        self.session.broken = True     # nothing more is sent
        self.session.first_ready = self.session.last_ready = NULL      # flows of streams that were closed
        self.leave()
        self.socket.shut()
        return 0
