"""HTTP/1.1 towards a client: read a request, forward its body, send the answer, continue with the next request (RFC 9112)."""

import logging

cimport cython
from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from lbcore.http.buffer cimport Buffer, buffer_acquire, buffer_len, buffer_park, buffer_release, buffer_reserve, buffer_room
from lbcore.http.framing cimport BODY_CHUNKED, BODY_LENGTH, BODY_NONE, BODY_UNTIL_CLOSE
from lbcore.http.freelist cimport FreeList, freelist_give, freelist_take
from lbcore.http.message cimport HEAD_PARTIAL, Message
from lbcore.http.render cimport render_response
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_of
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer, Exchange, ServerStream
from lbcore.proxy.whole cimport exchange_give, exchange_take
from lbcore.routing.server cimport Server
from lbcore.http.sink cimport Sink
from lbcore.state.layout cimport ERROR_BAD_REQUEST, ERROR_CLIENT_TIMEOUT
from lbcore.transport.clock cimport http_date
from lbcore.transport.connection cimport ClientConnection, Learned
from lbcore.transport.encryption cimport EncryptedTransport, Encryption
from lbcore.transport.epoll cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from lbcore.transport.http1_body cimport (
    BODY_BAD, BODY_BLOCKED, BODY_COMPLETE, BODY_REFUSED, BODY_WAITS, body_begin, body_end, body_forget, body_put, body_read,
    note_output,
)
from lbcore.transport.http2_client cimport http2_is_available, serve_http2
from lbcore.transport.linger cimport linger_begin, linger_read
from lbcore.transport.request_stream cimport RequestStream
from lbcore.transport.scarcity cimport lack
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, OwnedSocket
from lbcore.transport.tunnel cimport Tunnel

cdef enum:
    CORKED_BYTES = 65536       # bytes of answers to pipelined requests that are gathered before they are sent
    HALF_CLOSED_MS = 500       # time until an answer must begin if the client has ended its sending side
    HALF_CLOSED_PAUSE_MS = 30000   # longest pause in the body of such an answer

cdef bytes PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
cdef bytes CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# The legal transitions: for each state, the set of the states that may follow, as bits.
cdef int[6] MOVES = [
    1 << CLIENT_BUSY | 1 << CLIENT_FLUSHING | 1 << CLIENT_CLOSED,                                   # from CLIENT_IDLE
    1 << CLIENT_IDLE | 1 << CLIENT_FLUSHING | 1 << CLIENT_LINGERING | 1 << CLIENT_TUNNEL | 1 << CLIENT_CLOSED,   # CLIENT_BUSY
    1 << CLIENT_IDLE | 1 << CLIENT_LINGERING | 1 << CLIENT_CLOSED,                                  # from CLIENT_FLUSHING
    1 << CLIENT_CLOSED,                                                                             # from CLIENT_LINGERING
    1 << CLIENT_CLOSED,                                                                             # from CLIENT_TUNNEL
    0,                                                                                              # from CLIENT_CLOSED
]

cdef FreeList kept             # streams of idle connections

_log = logging.getLogger("lbcore.transport")


cdef int serve_http1(OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer,
                     set connections) except -1:
    """Start an HTTP/1 connection on a socket in the reactor. Bytes in its input are the beginning of the first request."""
    cdef Http1ClientConnection connection = Http1ClientConnection.__new__(Http1ClientConnection)
    connection.address = learned.client
    connection.encrypted = learned.encrypted
    connection.entry_point = entry_point
    connection.dialer = dialer
    connection.connections = connections
    connection.socket = socket
    socket.owner = connection
    entry_point.stats.bytes_in += buffer_len(&socket.input)
    connection.enter()
    try:
        connection.open()
        # The first bytes have usually arrived; with TLS, the handshake has found out whether they have.
        connection.socket_ready(socket, 0 if connection.encrypted else EPOLLIN)
        if socket.late and not connection.awaits_last_answer() and socket.rewatch() < 0:
            lack(f"entry point {entry_point.name} cannot watch a connection", socket.fault)
            (<ClientConnection>socket.owner).abort()
    except Exception as error:
        connection.socket_failed(socket, error)
    return 0


@cython.final
cdef class Http1ClientConnection(ClientConnection):
    """A connection of HTTP/1. `serve_http1` makes it and calls `open`."""

    cdef int open(self) except -1:
        self.trusted = self.entry_point.trusted.hold(&self.address)
        self.opened_ms = self.idle_ms = self.socket.reactor.now_ms
        return self.watch()

    cdef int move(self, int state) except -1:
        """Change the state. Raises RuntimeError for an illegal transition."""
        if not MOVES[self.state] >> state & 1:
            raise RuntimeError(f"a client's connection went from state {self.state} to {state}")
        self.state = state
        return 0

    cdef int arm(self, int64_t delay_ms) except -1:
        """Set the timeout, unless the connection is broken and waits for the call of `socket_timeout` that will end it."""
        if self.stream is not None and self.stream.broken:
            return 0
        return self.socket.reactor.arm(self.socket, delay_ms)

    cdef int hold_stream(self) except -1:
        """Have a stream, for a request or for output. MemoryError."""
        cdef Http1ClientStream stream
        if self.stream is not None:
            return 0
        stream = <Http1ClientStream>freelist_take(&kept)
        if stream is None:
            stream = Http1ClientStream.__new__(Http1ClientStream)
        stream.connection = self
        stream.socket = self.socket
        self.stream = stream
        return 0

    cdef void give_stream(self) noexcept:
        """Give the stream back, which has no exchange and no output: a connection that is idle, or over, does without. One of its methods
        may be running, so it is kept for reuse, or stays where it is; it does not die here."""
        cdef Http1ClientStream stream = self.stream
        if not freelist_give(&kept, stream):
            return
        stream.connection = None
        stream.socket = None
        stream.blocked = stream.broken = False
        self.stream = None

    # Events

    cdef int socket_ready(self, OwnedSocket socket, uint32_t events) except -1:
        cdef Http1ClientStream stream = self.stream
        cdef int result
        events = socket.note(events)
        if self.state == CLIENT_IDLE:
            return self.read_requests()
        if self.state == CLIENT_TUNNEL:
            return self.pump_tunnel()
        if self.state == CLIENT_LINGERING:
            return self.read_past()
        if events & EPOLLOUT and stream.blocked and not stream.broken:
            result = socket.push()
            if result == IO_FAILED:
                stream.write_failed()
            elif result == 0:
                stream.blocked = False
                if self.state == CLIENT_FLUSHING:
                    return self.answer_is_out()
                stream.exchange.client_drained()
        if self.state == CLIENT_BUSY:
            if socket.readable and stream.body.kind != BODY_NONE:
                return stream.want_body()
            return self.leave_if_gone()
        if self.state == CLIENT_FLUSHING and (stream.broken or events & (EPOLLERR | EPOLLHUP)):
            return self.close()
        return 0

    cdef int socket_timeout(self, OwnedSocket socket) except -1:
        cdef Http1ClientStream stream = self.stream
        cdef int64_t left_ms
        if stream is not None and stream.broken:
            return self.abort()
        if self.state == CLIENT_IDLE and buffer_len(&self.socket.input):
            # The head is incomplete (RFC 9110 section 15.5.9).
            self.hold_stream()
            self.take(exchange_take(self.entry_point, self.stream, self.dialer))
            return self.refuse(408, ERROR_CLIENT_TIMEOUT)
        if self.state == CLIENT_BUSY:
            if stream.body.kind != BODY_NONE:
                left_ms = stream.patience_ms()
                if left_ms == INT64_MAX:
                    return 0           # the body has no limit: the timer was that of the head, or of the idle connection
                if left_ms > 0:
                    return self.arm(left_ms)
                self.keep_alive = False
                return stream.exchange.client_stalled(408)
            if self.half_closed:
                return self.wait_on()
            if self.entry_point.limits.write_timeout_ms:
                self.keep_alive = False
                return stream.exchange.client_stalled(504)
            return 0
        if self.state == CLIENT_TUNNEL or (self.state == CLIENT_FLUSHING and self.entry_point.limits.write_timeout_ms == 0):
            return 0
        return self.close()

    cdef void socket_failed(self, OwnedSocket socket, object error) noexcept:
        _log.error("internal error on a connection of entry point %s", self.entry_point.name, exc_info=error)
        try:
            self.abort()
        except Exception as again:
            _log.error("internal error while ending an exchange", exc_info=again)

    cdef void socket_released(self, OwnedSocket socket) noexcept:
        if self.state == CLIENT_CLOSED and self.stream is not None:
            self.stream.connection = None

    cdef int drain(self) except -1:
        """Serve the requests that have arrived, then close: now, or after the present answer."""
        self.keep_alive = False
        if self.state != CLIENT_IDLE:
            return 0
        self.socket.readable = True    # the kernel may have bytes whose event has not been delivered yet
        self.read_requests()
        return self.close() if self.state == CLIENT_IDLE and buffer_len(&self.socket.input) == 0 else 0

    cdef int leave_if_gone(self) except -1:
        """Abort if the client has broken the connection. If it has ended its sending side, it may still wait for the answer: limit
        the time for that."""
        if self.state != CLIENT_BUSY or not self.socket.hangup:
            return 0
        if self.stream.broken or self.socket.broken or self.stream.exchange.pending is not None:
            return self.abort()    # a half-closed client gets no answer either while its request waits for a server
        if self.stream.body.kind == BODY_NONE and not self.half_closed:
            self.half_closed = True
            if self.socket.peer_has_ended():       # else further requests have come, and the end is behind them
                self.keep_alive = self.keep_alive and buffer_len(&self.socket.input) > 0
            return self.watch_half_closed()
        return 0

    cdef int watch_half_closed(self) except -1:
        """Limit the time until the answer begins, because the client has ended its sending side."""
        self.taken_bytes = -1
        return self.arm(HALF_CLOSED_MS)

    cdef int wait_on(self) except -1:
        """Continue the answer of a half-closed client while the client takes bytes of it, because a client that is gone resets
        the connection when it gets more; otherwise abort."""
        cdef Exchange exchange = self.stream.exchange
        cdef int64_t left_ms = HALF_CLOSED_PAUSE_MS, taken_bytes = <int64_t>exchange.response_bytes
        if exchange.status == 0 or taken_bytes == self.taken_bytes:
            return self.abort()
        self.taken_bytes = taken_bytes
        if self.answer_until_ms:
            left_ms = min(left_ms, self.answer_until_ms - self.socket.reactor.now_ms)
            if left_ms <= 0:
                return exchange.client_stalled(504)
        return self.arm(left_ms)

    cdef int limit_answer(self) except -1:
        """Limit the time until the answer is sent, because the request is complete."""
        self.answer_until_ms = 0
        if self.entry_point.limits.write_timeout_ms:
            self.answer_until_ms = self.socket.reactor.now_ms + self.entry_point.limits.write_timeout_ms
            return self.arm(self.entry_point.limits.write_timeout_ms)
        return 0

    cdef bint awaits_last_answer(self) noexcept:
        """Whether the client has sent all that it may send, and only its loss would matter: a moment later is soon enough for that."""
        return self.state == CLIENT_BUSY and not self.keep_alive and self.stream.body.kind == BODY_NONE

    cdef int64_t idle_since_ms(self) noexcept:
        return self.idle_ms if self.state == CLIENT_IDLE and not self.serving and buffer_len(&self.socket.input) == 0 else -1

    cdef int abort(self) except -1:
        """Abort the exchange under way, because the client is lost, and close."""
        try:
            if self.stream is not None and self.stream.exchange is not None:
                self.stream.exchange.client_gone()
        finally:
            self.close()           # even if ending the exchange has failed
        return 0

    # Requests

    cdef int read_requests(self) except -1:
        """Read requests and begin their exchanges until one is not finished at once, or no more bytes have arrived."""
        cdef OwnedSocket socket = self.socket
        cdef bint ended = False
        cdef Py_ssize_t n
        if self.serving:
            return 0
        self.serving = True
        try:
            self.hold_stream()
            while self.state == CLIENT_IDLE:
                if self.seen <= 1:
                    self.skip_empty_lines()
                if buffer_len(&socket.input) > self.seen:
                    self.read_head()
                    if buffer_len(&socket.output) > CORKED_BYTES:
                        self.stream.flush()
                        if self.stream.blocked and self.state == CLIENT_IDLE:
                            self.move(CLIENT_FLUSHING)
                    continue
                if not socket.readable:
                    break
                if buffer_reserve(&socket.input, 1) < 0:
                    raise MemoryError
                if self.seen == 0:
                    buffer_acquire(&socket.input)
                n = socket.receive(&socket.input, buffer_room(&socket.input))
                if n == IO_AGAIN:
                    break
                if n < 0:
                    return self.close()
                if n == 0:
                    ended = True
                    break
                self.entry_point.stats.bytes_in += n
        finally:
            self.serving = False
        return self.end_of_requests() if ended else self.rest()

    cdef int skip_empty_lines(self) except -1:
        """Skip empty lines in front of a request (RFC 9112 section 2.2), because some clients end a body with one. Of one of which the
        first byte alone has come, `read_head` has made the beginning of a head."""
        cdef Buffer* input = &self.socket.input
        cdef bint began = self.seen == 1
        while buffer_len(input) >= 2 and input.base[input.start] == c"\r" and input.base[input.start + 1] == c"\n":
            input.start += 2
            self.seen = 0
        return self.limit_idle() if began and self.seen == 0 else 0

    cdef int read_head(self) except -1:
        """Parse the input; if a head is complete, begin its exchange, which owns the bytes of the head."""
        cdef OwnedSocket socket = self.socket
        cdef Exchange exchange = exchange_take(self.entry_point, self.stream, self.dialer)
        cdef Py_ssize_t length = buffer_len(&socket.input)
        cdef Py_ssize_t used
        used = exchange.request.parse(socket.input.base + socket.input.start, length, self.seen, &self.entry_point.policy)
        if used == HEAD_PARTIAL:
            exchange_give(exchange)
            if self.seen == 0 and self.entry_point.limits.header_timeout_ms:
                self.arm(self.entry_point.limits.header_timeout_ms)
            elif self.seen == 0:
                socket.reactor.disarm(socket)
            self.seen = length
            return 0
        if used < 0 and self.requests == 0 and self.is_http2():
            exchange_give(exchange)
            if self.seen == 0 and self.entry_point.limits.header_timeout_ms:
                self.arm(self.entry_point.limits.header_timeout_ms)
            self.seen = length
            return self.become_http2() if length >= len(PREFACE) else 0
        self.take(exchange)
        if used < 0:
            return self.refuse(<int>-used, ERROR_BAD_REQUEST)
        if self.encrypted and not (<EncryptedTransport>socket.transport).holds_under(<Encryption>self.entry_point.encryption):
            return self.refuse(421, ERROR_BAD_REQUEST)
        socket.input.start += used
        return self.begin_exchange(exchange)

    cdef bint is_http2(self) noexcept:
        """Whether the first bytes are those of HTTP/2 without TLS (RFC 9113 section 3.3), a request that HTTP/1 refuses, or
        may become them."""
        cdef Buffer* input = &self.socket.input
        cdef Py_ssize_t length = min(buffer_len(input), <Py_ssize_t>len(PREFACE))
        return not self.encrypted and memcmp(input.base + input.start, <const char*>PREFACE, length) == 0 and http2_is_available()

    cdef int become_http2(self) except -1:
        """Another connection owns the socket from here on."""
        cdef Learned learned
        memset(&learned, 0, sizeof(learned))
        learned.client = self.address
        self.entry_point.stats.bytes_in -= buffer_len(&self.socket.input)
        self.entry_point.stats.accepted -= 1       # it counts itself
        self.move(CLIENT_CLOSED)
        self.leave()
        self.socket.reactor.disarm(self.socket)
        self.stream.connection = None
        return serve_http2(self.socket, &learned, self.entry_point, self.dialer, self.connections)

    cdef int take(self, Exchange exchange) except -1:
        """Take over an exchange: prepare it and the stream for a request."""
        cdef EncryptedTransport transport
        self.move(CLIENT_BUSY)
        self.half_closed = False       # of this request it is not known yet
        self.seen = 0
        self.requests += 1
        self.stream.clear()
        self.stream.exchange = exchange
        exchange.request.set_client(&self.address)
        exchange.forward = self.entry_point.forward
        exchange.forward.trusted = self.trusted
        exchange.forward.encrypted = exchange.request.head.encrypted = self.encrypted
        if self.encrypted:
            transport = <EncryptedTransport>self.socket.transport
            exchange.request.head.tls_version, exchange.request.head.tls_cipher = transport.version, transport.cipher
            exchange.request.tls_subject = transport.client_subject
            exchange.request.tls_chain = transport.client_chain
            exchange.server_name = transport.server_name
        return 0

    cdef int refuse(self, int status, int error) except -1:
        """Answer with an error status and close, because the bytes that follow cannot be separated into requests."""
        self.keep_alive = False
        self.unread = True
        buffer_release(&self.socket.input)
        return self.stream.exchange.refuse(status, error)

    cdef int begin_exchange(self, Exchange exchange) except -1:
        cdef Http1ClientStream stream = self.stream
        cdef int64_t left_ms
        stream.minor_version = exchange.request.head.minor_version
        self.keep_alive = exchange.request.framing.keep_alive and not self.entry_point.draining \
            and not self.reached_keep_alive_limit()
        body_begin(&stream.body, &exchange.request.framing)
        if stream.body.kind != BODY_NONE:
            self.answer_until_ms = 0
            left_ms = stream.begin_body(exchange.request.framing.expects_continue)
            if left_ms != INT64_MAX:
                self.arm(left_ms)
        else:
            self.limit_answer()
        return exchange.begin()

    cdef int end_of_requests(self) except -1:
        """Send the answers that wait and close, because the client has ended its sending side between requests."""
        self.keep_alive = False
        if self.state != CLIENT_IDLE:
            return 0
        self.stream.flush()
        if self.stream.blocked and not self.stream.broken:
            return self.move(CLIENT_FLUSHING)
        return self.close()

    cdef int rest(self) except -1:
        """Send what waits and release memory, because nothing more can be done until the next event."""
        cdef OwnedSocket socket = self.socket
        if self.state == CLIENT_CLOSED:
            return 0
        if buffer_len(&socket.output):
            self.stream.flush()
        if self.state != CLIENT_IDLE:
            if buffer_len(&socket.input) == 0:
                buffer_release(&socket.input)
            return self.leave_if_gone()
        if self.stream.blocked:
            return self.move(CLIENT_FLUSHING)
        if buffer_len(&socket.input) == 0:
            buffer_release(&socket.input)
            self.give_stream()
        else:
            buffer_park(&socket.input)
        return 0

    cdef int watch(self) except -1:
        """Limit the time until the next request: `idleTimeout`, and for the first request of a connection `readTimeout`."""
        self.idle_ms = self.socket.reactor.now_ms
        return self.limit_idle()

    cdef int limit_idle(self) except -1:
        """Set the timer by that limit, which counts from `idle_ms`."""
        cdef int64_t limit_ms = self.entry_point.limits.idle_timeout_ms if self.requests else \
            self.entry_point.limits.read_timeout_ms
        if limit_ms:
            return self.arm(max(<int64_t>0, self.idle_ms + limit_ms - self.socket.reactor.now_ms))
        self.socket.reactor.disarm(self.socket)
        return 0

    # Answers

    cdef int answered(self) except -1:
        """Send the answer, which is complete and whose exchange is given back, and continue."""
        cdef Http1ClientStream stream = self.stream
        if stream.broken:
            return self.close()
        if self.serving and self.keep_alive:
            self.move(CLIENT_IDLE)
            return self.watch()
        if not stream.blocked:
            if not self.keep_alive:
                self.socket.end_follows()
            stream.flush()
        if stream.blocked:
            return self.close() if stream.broken else self.move(CLIENT_FLUSHING)
        return self.answer_is_out()

    cdef int answer_is_out(self) except -1:
        """Continue with the next request, or close, because the kernel has all of the answer."""
        if not self.keep_alive:
            return self.linger()
        self.move(CLIENT_IDLE)
        self.watch()
        if self.serving:
            return 0
        if self.socket.readable or buffer_len(&self.socket.input) or self.socket.hangup:
            try:
                return self.read_requests()
            except Exception as error:
                self.socket.fail(error)    # not raised: the caller belongs to the previous exchange
                return 0
        return self.rest()

    # Tunnels

    cdef int switch(self, OwnedSocket upstream) except -1:
        """Become a tunnel to the server after a switch of protocols; the events of both sockets come here."""
        self.upstream = upstream
        upstream.owner = self
        self.stream.flush()
        if self.stream.broken:
            return 0                   # the timer ends it
        self.move(CLIENT_TUNNEL)
        self.socket.reactor.disarm(self.socket)
        self.tunnel = Tunnel(self.socket, upstream)
        return self.pump_tunnel()

    cdef int pump_tunnel(self) except -1:
        if self.tunnel.pump():
            self.stream.exchange.tunnel_ended()
            self.close()
        return 0

    # The end of the connection

    cdef int linger(self) except -1:
        """Close in a way that the client gets the answer: an immediate close resets a connection whose peer is still sending
        (RFC 9112 section 9.6). What waits for the end (`Socket.end_follows`) goes out before the look for bytes that no event has
        announced: a reset would destroy it."""
        if not self.unread and buffer_len(&self.socket.input) == 0 and not self.socket.readable:
            self.socket.shut_write()
            if self.socket.discard() <= 0:
                self.give_stream()
                return self.close()
        self.move(CLIENT_LINGERING)
        linger_begin(&self.lingering, self.socket)
        return self.read_past()

    cdef int read_past(self) except -1:
        return 0 if linger_read(&self.lingering, self.socket) else self.close()

    cdef int close(self) except -1:
        if self.state == CLIENT_CLOSED:
            return 0
        self.move(CLIENT_CLOSED)
        self.leave()
        if self.stream is not None:
            if self.stream.exchange is not None:
                exchange_give(self.stream.exchange)
                self.stream.exchange = None
            body_forget(&self.stream.body)
            if self.stream.until_close and buffer_len(&self.socket.output):
                self.socket.sever()            # the client has not taken all of the answer in time
        self.socket.shut()
        if self.upstream is not None:
            self.upstream.shut()
        self.tunnel = None
        return 0


@cython.final
cdef class Http1ClientStream(RequestStream):
    """The stream of a connection: carries its present exchange. Kept for reuse, by any connection, while its own is idle."""

    cdef void clear(self) noexcept:
        """Prepare for the next request. Output of the connection that waits to be sent stays."""
        self.chunking = self.until_close = self.continue_sent = False
        self.minor_version = 1
        self.splice_fd = -1

    # The request's body

    cdef int64_t now_ms(self) noexcept:
        return self.socket.reactor.now_ms

    cdef bint has_body(self) noexcept:
        return self.body.kind != BODY_NONE

    cdef int put_continue(self) except -1:
        if buffer_len(&self.socket.input) == 0:
            if self.socket.put_text(CONTINUE, len(CONTINUE)) < 0:
                self.write_failed()
            self.flush()
        return 0

    cdef int read_body(self, Sink sink) except -1:
        cdef Http1ClientConnection connection = self.connection
        cdef Exchange exchange = self.exchange
        cdef uint64_t before = self.body.received
        cdef int event = body_read(&self.body, self.socket, sink, exchange.request.trailer_section())
        connection.entry_point.stats.bytes_in += self.body.received - before
        exchange.request_bytes = self.body.forwarded
        if event == BODY_WAITS:
            sink.flush()
            return connection.leave_if_gone()
        if event == BODY_BLOCKED:
            return self.wait_for_server()
        if event == BODY_COMPLETE:
            connection.limit_answer()
            exchange.request_end(exchange.request.trailers_to_forward())
            return connection.leave_if_gone()
        connection.keep_alive = False
        if event == BODY_BAD:
            return exchange.bad_body()
        if event == BODY_REFUSED:
            return exchange.body_refused(self.body.refusal)
        return connection.abort()      # BODY_ENDED, BODY_RESET

    cdef int body_rests(self) except -1:
        return self.connection.leave_if_gone()

    cdef int wait_for_server(self) except -1:
        RequestStream.wait_for_server(self)
        if self.broken or self.socket.broken or (self.socket.hangup and self.exchange.pending is not None):
            return self.connection.abort()
        return 0

    cdef int rewind(self) except -1:
        return 0               # the body that was forwarded is in the recording; a connection cannot be read again

    cdef void skip_body(self) noexcept:
        """Skip the rest of the request body, because its answer begins. If the rest has not arrived, the connection will close."""
        cdef OwnedSocket socket = self.socket
        if self.exchange.stream is None and self.body.kind == BODY_LENGTH and buffer_len(&socket.input) >= self.body.left:
            socket.input.start += <Py_ssize_t>self.body.left
            self.body.kind = BODY_NONE
        else:
            self.connection.keep_alive = False

    # The answer

    cdef int put_head(self, Response response) except -1:
        cdef Http1ClientConnection connection = self.connection
        cdef Py_ssize_t before
        cdef int body = response.framing.body
        if self.body.kind != BODY_NONE:
            # Whether the client will send the rest of its body is not known, so the connection may have to end with this answer.
            self.skip_body()
        if body == BODY_CHUNKED or body == BODY_UNTIL_CLOSE:
            self.chunking = self.minor_version >= 1
            self.until_close = not self.chunking
            connection.keep_alive = connection.keep_alive and self.chunking
        if response.status == 101:
            self.chunking = False
        self.splice_fd = self.socket.splice_fd() if body == BODY_LENGTH else -1
        self.large_pieces = not self.socket.can_splice()
        if connection.entry_point.alt_svc is not None and self.exchange.request.head.encrypted:
            connection.entry_point.tell_of_http3(response)
        before = buffer_len(&self.socket.output)
        if render_response(response, self.minor_version, connection.keep_alive, self.chunking, self.exchange.request.is_head,
                           http_date(), &self.socket.output) < 0:
            raise MemoryError
        connection.entry_point.stats.bytes_out += buffer_len(&self.socket.output) - before
        return 0

    cdef int put_interim(self, Response response) except -1:
        cdef Py_ssize_t before = buffer_len(&self.socket.output)
        if self.minor_version == 0:
            return 0               # HTTP/1.0 has no 1xx answers (RFC 9110 section 15.2)
        if render_response(response, 1, True, False, False, span_of(NULL, 0), &self.socket.output) < 0:
            raise MemoryError
        self.connection.entry_point.stats.bytes_out += buffer_len(&self.socket.output) - before
        return 0

    cdef int put(self, Span data) except -1:
        if self.broken:
            return 0
        note_output(self, body_put(self.socket, self.chunking, data))
        self.exchange.response_bytes += data.len
        self.connection.entry_point.stats.bytes_out += data.len
        return 0

    cdef int end(self, Message trailers) except -1:
        return 0 if self.broken else note_output(self, body_end(self.socket, self.chunking, trailers))

    cdef int flush(self) except -1:
        # Without a connection, it has been given back: nothing waits.
        return 0 if self.broken or self.connection is None or self.connection.state == CLIENT_CLOSED else note_output(self, self.socket.push())

    cdef void spliced(self, int64_t count) noexcept:
        self.exchange.response_bytes += count
        self.connection.entry_point.stats.bytes_out += count

    cdef void wait_for_output(self) noexcept:
        self.blocked = True
        if self.socket.wait_for_output() == IO_FAILED:
            self.write_failed()

    cdef void write_failed(self) noexcept:
        """Note that the client is gone. Writing stops now; the exchange ends at the next tick, not inside its own call."""
        self.blocked = True
        buffer_release(&self.socket.output)
        if not self.broken:
            self.broken = True
            self.socket.reactor.arm(self.socket, 0)

    cdef int switch(self, ServerStream server) except -1:
        cdef object upstream = server.take_socket()
        if upstream is None:
            return self.exchange.answer_refused(502)
        return self.connection.switch(<OwnedSocket>upstream)

    cdef int finish(self) except -1:
        cdef Exchange exchange = self.exchange
        self.exchange = None
        self.splice_fd = -1
        self.connection.unread = self.connection.unread or self.body.kind != BODY_NONE
        body_forget(&self.body)
        exchange_give(exchange)
        return self.connection.answered()

    cdef object own_pool(self, Server server, bint make):
        return self.connection.pool_of(server, make)

    cdef int abort(self) except -1:
        """Close the connection without the end of the body, so that the client does not take half an answer for a whole one; reset it
        if its end would be that of the body."""
        if not self.broken:
            self.socket.push()
        if self.until_close:
            self.socket.sever()
        return self.connection.close()
