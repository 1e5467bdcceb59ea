"""HTTP/2 towards a client: a connection, its session, and a stream for each exchange (RFC 9113)."""

import logging

cimport cython
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memset

from lbcore.http.buffer cimport buffer_acquire, buffer_len, buffer_release, buffer_room
from lbcore.http.fields cimport (
    FIELDS_MALFORMED, complete_request, is_grpc, list_grpc_status, list_response, take_request_field, take_trailer_field,
)
from lbcore.http.framing cimport BODY_NONE
from lbcore.http.message cimport Message
from lbcore.http.response cimport Response
from lbcore.http.sanitizer cimport POOLS
from lbcore.http.sink cimport Sink
from lbcore.http.span cimport Span, span_of
from lbcore.http2.nghttp2 cimport *
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer, Exchange, ServerStream
from lbcore.proxy.whole cimport exchange_give, exchange_take
from lbcore.state.layout cimport ERROR_ABUSE, ERROR_BAD_REQUEST, ERROR_CLIENT_TIMEOUT, ERROR_INTERNAL
from lbcore.transport.clock cimport http_date
from lbcore.transport.connection cimport ClientConnection, Learned
from lbcore.transport.encryption cimport EncryptedTransport
from lbcore.transport.epoll cimport EPOLLIN
from lbcore.transport.http2_session cimport FLOW_CLOSED, FLOW_INPUT, FLOW_ROOM, Flow, Http2Session, queue_len
from lbcore.transport.linger cimport linger_begin, linger_read
from lbcore.transport.request_stream cimport RequestStream
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, OwnedSocket, SocketOwner

cdef enum:
    KEPT_STREAMS = 1024        # closed streams that are kept for reuse
    RESET_COST = 10            # charge for a stream that ended before its answer was complete
    NOTICE_MS = 1000           # longest time between the two GOAWAYs of a graceful shutdown

cdef Http2ClientStream kept = None     # the first of the streams that wait for reuse, linked by `next_kept`
cdef int kept_count = 0

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
    cdef EncryptedTransport transport
    load()
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
    connection.session = Http2ClientSession.__new__(Http2ClientSession)
    connection.session.connection = connection
    connection.session.socket = socket
    connection.session.bytes_in = buffer_len(&socket.input)
    connection.session.open(True, entry_point.http2.streams, entry_point.http2.decoder_bytes, entry_point.http2.encoder_bytes)
    socket.owner = connection
    connection.enter()
    try:
        connection.session.check_by(connection.opened_ms)      # `check` then sets the timer by the limits
        connection.socket_ready(socket, 0 if connection.encrypted else EPOLLIN)
    except Exception as error:
        connection.socket_failed(socket, error)
    return 0


@cython.final
cdef class Http2ClientSession(Http2Session):
    """The session of a connection: field sections become requests."""

    cdef Flow* begin_section(self, int32_t stream_id) noexcept:
        cdef Http2ClientStream stream
        try:
            stream = stream_take(self.connection, stream_id)
        except Exception:
            return NULL
        return &stream.flow

    cdef int take_field(self, Flow* flow, Span name, Span value) noexcept:
        cdef Http2ClientStream stream = <Http2ClientStream>flow.owner
        cdef Exchange exchange = stream.exchange
        if exchange is None:
            return 0
        if not flow.head_complete:
            if take_request_field(&stream.fields, exchange.request, name, value, &self.connection.entry_point.policy) < 0:
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
            if stream.fields.bytes > 2 * self.connection.entry_point.policy.max_header_bytes:
                self.charge(1)         # a few bytes of input expand to that many through the table
            return 0
        try:
            if take_trailer_field(exchange.request.trailer_section(), name, value) == 0:
                return 0
        except Exception:
            pass
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE

    cdef void frame_received(self, const FrameHead* frame) noexcept:
        cdef Http2ClientConnection connection = self.connection
        if frame.type == NGHTTP2_PING and frame.flags & NGHTTP2_FLAG_END_STREAM and connection.shutdown == SHUTDOWN_NOTICE:
            connection.notice_until_ms = 0     # the client has read the GOAWAY that was sent before the acknowledged PING
        elif frame.type == NGHTTP2_GOAWAY:
            connection.client_shuts_down = True

    cdef int flow_ready(self, Flow* flow, uint8_t events) except -1:
        cdef Http2ClientStream stream = <Http2ClientStream>flow.owner
        try:
            return stream.ready(events)
        except Exception as error:
            return stream.failed(error)

    cdef int after_send(self) except -1:
        return 0 if self.connection is None else self.connection.proceed()


@cython.final
cdef class Http2ClientConnection(ClientConnection):
    """A connection of HTTP/2. `serve_http2` makes it."""

    # Events

    cdef int socket_ready(self, OwnedSocket socket, uint32_t events) except -1:
        cdef Http2ClientSession session = self.session
        events = socket.note(events)
        if self.state == HTTP2_LINGERING:
            return self.read_past()
        if self.state == HTTP2_CLOSED:
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
        if self.state != HTTP2_OPEN:
            return 0
        if session.broken:
            return self.abort()
        if session.ended:
            session.send()             # complete answers
            return self.abort()
        if self.shutdown == SHUTDOWN_NOTICE and self.notice_until_ms == 0:
            self.finish_shutdown()
        if session.is_finished() and not session.blocked:
            return self.linger()
        return 0

    cdef int socket_timeout(self, OwnedSocket socket) except -1:
        self.session.check_ms = 0
        if self.state == HTTP2_LINGERING:
            return self.close()
        return self.check() if self.state == HTTP2_OPEN else 0

    cdef void socket_failed(self, OwnedSocket socket, object error) noexcept:
        _log.error("internal error on a connection of entry point %s", self.entry_point.name, exc_info=error)
        try:
            self.abort()
        except Exception as again:
            _log.error("internal error while ending an exchange", exc_info=again)

    cdef void socket_released(self, OwnedSocket socket) noexcept:
        if self.state == HTTP2_CLOSED:
            self.session.connection = None
            self.session.free()

    # Time

    cdef int check(self) except -1:
        """End everything that has reached its time limit, and set the timer for the rest."""
        cdef Http2ClientSession session = self.session
        cdef int64_t now_ms = self.socket.reactor.now_ms, limit_ms
        cdef Http2ClientStream stream, older
        if self.shutdown == SHUTDOWN_NOTICE:
            if now_ms >= self.notice_until_ms:
                self.finish_shutdown()
            else:
                session.check_by(self.notice_until_ms)
        if session.open_flows == 0 and self.shutdown == SHUTDOWN_NOT:
            limit_ms = self.entry_point.limits.idle_timeout_ms if self.requests else self.entry_point.limits.read_timeout_ms
            if limit_ms and now_ms >= self.idle_ms + limit_ms:
                return self.begin_shutdown() if self.requests else self.finish_shutdown()
            if limit_ms:
                session.check_by(self.idle_ms + limit_ms)
        limit_ms = self.entry_point.limits.header_timeout_ms
        if self.section_ms and limit_ms:
            if now_ms >= self.section_ms + limit_ms:
                self.entry_point.stats.errors[<int>ERROR_CLIENT_TIMEOUT] += 1
                return self.abort()
            session.check_by(self.section_ms + limit_ms)
        stream = stream_of(session.newest)
        while stream is not None and self.state == HTTP2_OPEN:
            older = stream_of(stream.flow.older)       # a reference: the check may end streams
            if stream.exchange is not None:
                stream.check(now_ms)
            stream = older
        return 0

    cdef int64_t idle_since_ms(self) noexcept:
        return self.idle_ms if self.state == HTTP2_OPEN and self.session.open_flows == 0 and self.section_ms == 0 else -1

    # The end

    cdef int drain(self) except -1:
        return self.begin_shutdown() if self.state == HTTP2_OPEN else 0

    cdef int begin_shutdown(self) except -1:
        """Ask the client to begin no more streams (RFC 9113 section 6.8). Streams that it begins before it has read that are served:
        `finish_shutdown` follows when it has acknowledged a PING, or after NOTICE_MS."""
        if self.shutdown != SHUTDOWN_NOT:
            return 0
        self.shutdown = SHUTDOWN_NOTICE
        self.session.graceful = True
        nghttp2_submit_shutdown_notice(self.session.session)
        nghttp2_submit_ping(self.session.session, NGHTTP2_FLAG_NONE, NULL)
        self.notice_until_ms = self.socket.reactor.now_ms + NOTICE_MS
        self.session.check_by(self.notice_until_ms)
        return self.socket.reactor.touch(self.session)

    cdef int finish_shutdown(self) except -1:
        """Serve no more streams than those that are open, and close after them."""
        if self.shutdown == SHUTDOWN_FINAL:
            return 0
        self.shutdown = SHUTDOWN_FINAL
        self.session.graceful = False
        nghttp2_submit_goaway(self.session.session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(self.session.session), NGHTTP2_NO_ERROR, NULL, 0)
        return self.socket.reactor.touch(self.session)

    cdef int linger(self) except -1:
        """Close in a way that the client gets the last frame."""
        if self.session.abused:
            self.entry_point.stats.errors[<int>ERROR_ABUSE] += 1
        elif self.shutdown == SHUTDOWN_NOT and not self.client_shuts_down:
            self.entry_point.stats.errors[<int>ERROR_BAD_REQUEST] += 1     # the library has ended the session
        self.end_streams()
        if self.session.ended or self.socket.hangup:
            return self.close()
        self.state = HTTP2_LINGERING
        linger_begin(&self.lingering, self.socket)
        return self.read_past()

    cdef int read_past(self) except -1:
        return 0 if linger_read(&self.lingering, self.socket) else self.close()

    cdef int end_streams(self) except -1:
        """End all exchanges under way, because their client is lost."""
        cdef Http2ClientStream stream
        cdef object problem = None
        while self.session.newest != NULL:
            stream = stream_of(self.session.newest)
            try:
                stream.closed()
            except Exception as error:
                problem = error
                self.session.unlink(&stream.flow)
        if problem is not None:
            raise problem
        return 0

    cdef int abort(self) except -1:
        """Abort the exchanges under way, because the client is lost, and close."""
        if self.state == HTTP2_CLOSED:
            return 0
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
        if self.state == HTTP2_CLOSED:
            return 0
        self.state = HTTP2_CLOSED
        self.session.broken = True     # nothing more is sent
        self.session.first_ready = self.session.last_ready = NULL      # flows of streams that were closed
        self.leave()
        self.socket.shut()
        return 0


@cython.final
cdef class Http2Tunnel(SocketOwner):
    """Moves bytes both ways between a stream (RFC 8441) and a server's socket after a switch of protocols."""

    cdef int socket_ready(self, OwnedSocket socket, uint32_t events) except -1:
        socket.note(events)
        return self.pump()

    cdef void socket_failed(self, OwnedSocket socket, object error) noexcept:
        _log.error("internal error in a tunnel", exc_info=error)
        try:
            self.finish(True)
        except Exception as again:
            _log.error("internal error at the end of a tunnel", exc_info=again)

    cdef int pump(self) except -1:
        """Move bytes both ways. Called when either end has sent bytes, or takes more."""
        if self.stream is None:
            return 0
        if self.pump_up() or self.pump_down():
            return self.finish(True)
        return self.finish(False) if self.up_ended and self.down_ended else 0

    cdef bint pump_up(self) except *:
        """Move bytes from the client to the server. Returns True if the server's connection is broken."""
        cdef Flow* flow = &self.stream.flow
        cdef Http2ClientSession session = self.stream.connection.session
        cdef OwnedSocket upstream = self.upstream
        cdef Py_ssize_t n
        cdef int result
        while not self.up_ended:
            result = upstream.push()
            if result == IO_FAILED:
                return True
            if result == IO_AGAIN:
                return False
            n = queue_len(&flow.input)
            if n:
                if upstream.put(span_of(flow.input.base + flow.input.start, n)) == IO_FAILED:
                    return True
                session.consume(flow, n)
            elif flow.ended:
                self.up_ended = True
                if not self.down_ended:
                    upstream.shut_write()
            else:
                break
        return False

    cdef bint pump_down(self) except *:
        """Move bytes from the server to the client. Returns True if the server's connection is broken."""
        cdef Flow* flow = &self.stream.flow
        cdef Http2ClientSession session = self.stream.connection.session
        cdef OwnedSocket upstream = self.upstream
        cdef Py_ssize_t n
        while not self.down_ended and not flow.full:
            n = buffer_len(&upstream.input)
            if n:
                session.put(flow, span_of(upstream.input.base + upstream.input.start, n))
            buffer_release(&upstream.input)
            if n:
                continue
            if not upstream.readable:
                break
            if buffer_acquire(&upstream.input) < 0:
                raise MemoryError
            n = upstream.receive(&upstream.input, buffer_room(&upstream.input))
            if n == IO_FAILED:
                return True
            if n == 0:
                self.down_ended = True
                session.put_end(flow, None)
            if n <= 0:
                buffer_release(&upstream.input)
        return False

    cdef int finish(self, bint broken) except -1:
        """End the tunnel and its exchange, because both ends have ended, one is broken, or the stream was reset."""
        cdef Http2ClientStream stream = self.stream
        cdef Exchange exchange
        if stream is None:
            return 0
        self.stream = None
        self.upstream.shut()
        exchange = stream.exchange
        stream.exchange = None
        if stream.connection is not None and not stream.flow.closed:
            stream.connection.session.discard(&stream.flow)
            if broken:
                stream.connection.session.reset(&stream.flow, NGHTTP2_CONNECT_ERROR)
        if exchange is not None:
            try:
                exchange.tunnel_ended()
            finally:
                exchange_give(exchange)
        return 0


@cython.final
cdef class Http2ClientStream(RequestStream):
    """The stream of one exchange. The session keeps it until the library has closed it, even after its exchange has ended."""

    cdef int ready(self, int events) except -1:
        if events & FLOW_CLOSED:
            return self.closed()
        if not self.begun:
            return self.begin() if self.flow.head_complete else 0
        if self.tunnel is not None:
            return self.tunnel.pump()
        if events & FLOW_ROOM and self.blocked:
            self.blocked = False
            if self.exchange is not None:
                self.exchange.client_drained()
        if events & FLOW_INPUT and self.exchange is not None:
            return self.want_body()
        return 0

    cdef int begin(self) except -1:
        """Begin the exchange of a complete head."""
        cdef Http2ClientConnection connection = self.connection
        cdef Exchange exchange = self.exchange
        cdef Message trailers = exchange.request.trailers
        # The end may have arrived together with a body or trailers before it.
        cdef bint ended = self.flow.ended and queue_len(&self.flow.input) == 0 and (trailers is None or trailers.n_headers == 0)
        cdef int64_t left_ms
        cdef int status
        self.begun = True
        self.take()
        status = complete_request(&self.fields, exchange.request, ended, &connection.entry_point.policy)
        if status == FIELDS_MALFORMED:
            connection.entry_point.stats.errors[<int>ERROR_BAD_REQUEST] += 1
            self.exchange = None
            exchange_give(exchange)
            return connection.session.reset(&self.flow, NGHTTP2_PROTOCOL_ERROR)
        if not self.fields.prioritised:
            connection.session.make_incremental(&self.flow)
        connection.requests += 1
        if connection.reached_keep_alive_limit():
            connection.begin_shutdown()
        if status:
            return self.refuse(status, ERROR_BAD_REQUEST)
        if exchange.request.framing.body == BODY_NONE:
            self.request_ended = True
            self.limit_answer()
        else:
            left_ms = self.begin_body(exchange.request.framing.expects_continue)
            if left_ms != INT64_MAX:
                connection.session.check_by(self.began_ms + left_ms)
        return exchange.begin()

    cdef int take(self) except -1:
        """Describe the client to the exchange: its address, trust, and TLS."""
        cdef Http2ClientConnection connection = self.connection
        cdef Exchange exchange = self.exchange
        exchange.request.set_client(&connection.address)
        exchange.forward = connection.entry_point.forward
        exchange.forward.trusted = connection.trusted
        exchange.forward.encrypted = exchange.request.head.encrypted = connection.encrypted
        exchange.request.tls_subject, exchange.request.tls_chain = connection.tls_subject, connection.tls_chain
        if connection.encrypted:
            exchange.request.head.tls_version, exchange.request.head.tls_cipher = connection.tls_version, connection.tls_cipher
            exchange.server_name = connection.server_name
        return 0

    cdef int refuse(self, int status, int error) except -1:
        return self.exchange.refuse(status, error)

    cdef int closed(self) except -1:
        """Release the stream, because the library has closed it or the connection ends; an exchange under way ends."""
        cdef Http2ClientConnection connection = self.connection
        cdef Exchange exchange
        cdef Http2Tunnel tunnel = self.tunnel
        if tunnel is not None:
            self.tunnel = None
            self.flow.closed = True
            tunnel.finish(False)
        exchange = self.exchange
        self.connection = None
        self.exchange = None
        self.flow.closed = True
        if exchange is None:
            connection.session.credit += RESET_COST
        else:
            connection.session.charge(RESET_COST)
        connection.session.release(&self.flow)
        connection.session.unlink(&self.flow)
        if connection.session.open_flows == 0:
            connection.idle_ms = connection.socket.reactor.now_ms
            if connection.state == HTTP2_OPEN and connection.entry_point.limits.idle_timeout_ms:
                connection.session.check_by(connection.idle_ms + connection.entry_point.limits.idle_timeout_ms)
        try:
            if exchange is not None and self.begun:
                exchange.client_gone()
        finally:
            if exchange is not None:
                exchange_give(exchange)
            stream_give(self)
        return 0

    cdef int failed(self, object error) except -1:
        """End the exchange after an unexpected error in this stream; the connection goes on."""
        cdef Exchange exchange = self.exchange
        _log.error("internal error in a stream of HTTP/2", exc_info=error)
        if exchange is None or self.connection is None:
            return 0
        self.connection.session.reset(&self.flow, NGHTTP2_INTERNAL_ERROR)
        self.exchange = None
        exchange.error = ERROR_INTERNAL
        try:
            exchange.lose_server()
            exchange.count()
        finally:
            exchange_give(exchange)
        return 0

    # Time

    cdef int limit_answer(self) except -1:
        """Limit the time until the answer is sent, because the request is complete."""
        cdef int64_t limit_ms = self.connection.entry_point.limits.write_timeout_ms
        self.answer_until_ms = 0
        if limit_ms:
            self.answer_until_ms = self.connection.socket.reactor.now_ms + limit_ms
            return self.connection.session.check_by(self.answer_until_ms)
        return 0

    cdef int check(self, int64_t now_ms) except -1:
        """End the exchange if it has reached its time limit; else set the timer."""
        cdef int64_t left_ms
        if not self.request_ended and self.begun:
            left_ms = self.patience_ms()
            if left_ms <= 0:
                return self.exchange.client_stalled(408)
            return 0 if left_ms == INT64_MAX else self.connection.session.check_by(now_ms + left_ms)
        if self.answer_until_ms:
            if now_ms >= self.answer_until_ms:
                return self.exchange.client_stalled(504)
            return self.connection.session.check_by(self.answer_until_ms)
        return 0

    # The request's body

    cdef bint has_body(self) noexcept:
        return not self.request_ended

    cdef int put_continue(self) except -1:
        if queue_len(&self.flow.input) == 0 and not self.flow.ended:
            return self.connection.session.submit_interim(&self.flow, 100)
        return 0

    cdef int read_body(self, Sink sink) except -1:
        cdef Http2ClientSession session = self.connection.session
        cdef Exchange exchange = self.exchange
        cdef Py_ssize_t n
        cdef int status
        while True:
            n = queue_len(&self.flow.input)
            if n == 0:
                break
            status = sink.put(span_of(self.flow.input.base + self.flow.input.start, n))
            exchange.request_bytes += n
            session.consume(&self.flow, n)
            if status:
                return exchange.body_refused(status)
            if sink.blocked:
                return self.wait_for_server()
        if not self.flow.ended:
            return sink.flush()
        self.request_ended = True
        self.limit_answer()
        return exchange.request_end(exchange.request.trailers_to_forward())

    # The answer

    cdef int put_head(self, Response response) except -1:
        cdef Http2ClientSession session
        if self.connection is None:
            return 0
        session = self.connection.session
        if self.exchange.stream is None and response.status != 200 and is_grpc(self.exchange.request):
            # lbcore's own answer.
            self.drops_body = True
            if list_grpc_status(response.status, session.list) < 0:
                raise MemoryError
            return session.submit_response(&self.flow, False)
        if response.status == 101:
            response.drop(b"sec-websocket-accept", 20)     # answers a key that the client has not sent
        if self.connection.entry_point.alt_svc is not None and self.connection.encrypted:
            self.connection.entry_point.tell_of_http3(response)
        if list_response(response, http_date(), session.list) < 0:
            raise MemoryError
        return session.submit_response(&self.flow, response.framing.body != BODY_NONE or response.status == 101)

    cdef int put_interim(self, Response response) except -1:
        cdef Http2ClientSession session
        if self.connection is None:
            return 0
        session = self.connection.session
        if list_response(response, span_of(NULL, 0), session.list) < 0:
            raise MemoryError
        return session.submit_interim(&self.flow, 0)

    cdef int put(self, Span data) except -1:
        if self.connection is None or data.len == 0 or self.drops_body:
            return 0
        self.connection.session.put(&self.flow, data)
        self.blocked = self.flow.full
        self.exchange.response_bytes += data.len
        return 0

    cdef int end(self, Message trailers) except -1:
        return 0 if self.connection is None else self.connection.session.put_end(&self.flow, trailers)

    cdef int flush(self) except -1:
        if self.connection is not None and self.connection.state == HTTP2_OPEN:
            return self.connection.socket.reactor.touch(self.connection.session)
        return 0

    cdef int switch(self, ServerStream server) except -1:
        cdef object upstream = server.take_socket()
        cdef Http2Tunnel tunnel
        if upstream is None or self.connection is None:
            return self.exchange.answer_refused(502)
        tunnel = Http2Tunnel.__new__(Http2Tunnel)
        tunnel.stream = self
        tunnel.upstream = <OwnedSocket>upstream
        tunnel.upstream.owner = tunnel
        self.tunnel = tunnel
        self.answer_until_ms = 0
        return tunnel.pump()

    cdef int finish(self) except -1:
        cdef Exchange exchange = self.exchange
        self.exchange = None
        exchange_give(exchange)
        if self.connection is None:
            return 0
        if not self.flow.ended:
            self.connection.session.discard(&self.flow)
            self.connection.session.end_both(&self.flow)
        return 0

    cdef int abort(self) except -1:
        """Reset the stream, so that the client does not take half an answer for a whole one."""
        cdef Exchange exchange = self.exchange
        self.exchange = None
        exchange_give(exchange)
        if self.connection is None:
            return 0
        self.connection.session.discard(&self.flow)
        return self.connection.session.reset(&self.flow, NGHTTP2_INTERNAL_ERROR)


cdef Http2ClientStream stream_take(Http2ClientConnection connection, int32_t stream_id):
    """A new stream of a connection, with an exchange. Usually O(1) without a heap call."""
    global kept, kept_count
    cdef Http2ClientStream stream = kept
    if stream is not None:
        kept = stream.next_kept
        stream.next_kept = None
        kept_count -= 1
    else:
        stream = Http2ClientStream.__new__(Http2ClientStream)
    memset(&stream.flow, 0, sizeof(stream.flow))
    memset(&stream.fields, 0, sizeof(stream.fields))
    stream.flow.id = stream_id
    stream.flow.owner = <void*>stream
    stream.blocked = stream.begun = stream.request_ended = stream.drops_body = False
    stream.continue_sent = True
    stream.tunnel = None
    stream.began_ms = stream.excused_ms = stream.blocked_ms = stream.answer_until_ms = 0
    stream.exchange = exchange_take(connection.entry_point, stream, connection.dialer)
    stream.connection = connection
    stream.socket = connection.socket
    connection.session.link(&stream.flow)
    return stream


cdef void stream_give(Http2ClientStream stream) noexcept:
    """Keep a closed stream for reuse, unless there are enough."""
    global kept, kept_count
    stream.socket = None
    if POOLS and kept_count < KEPT_STREAMS:
        stream.next_kept = kept
        kept = stream
        kept_count += 1


cdef inline Http2ClientStream stream_of(Flow* flow):
    """The stream of a flow; None for NULL."""
    return None if flow == NULL else <Http2ClientStream>flow.owner
