"""HTTP/2 towards a server: each stream is one exchange, a session carries them all.

A connection stays in the pool while it can open a stream. What the server has said it did not look at (REFUSED_STREAM, or a stream
behind the last one of a GOAWAY) is sent once more.
"""

import logging

cimport cython
from libc.errno cimport ECONNRESET, EPIPE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from lbcore.http.buffer cimport buffer_len, buffer_release
from lbcore.http.fields cimport complete_response, list_request, take_response_field, take_trailer_field
from lbcore.http.framing cimport BODY_NONE
from lbcore.http.message cimport Message
from lbcore.http.render cimport render_request
from lbcore.http.response cimport Response
from lbcore.http.sink cimport Sink
from lbcore.http.span cimport Span, span_of
from lbcore.http2.nghttp2 cimport *
from lbcore.proxy.exchange cimport Exchange, ServerStream
from lbcore.state.layout cimport ERROR_EOF, ERROR_GARBAGE, ERROR_INTERNAL, ERROR_RESET, ERROR_TIMEOUT
from lbcore.transport.epoll cimport EPOLLERR, EPOLLHUP, EPOLLOUT
from lbcore.transport.http2_session cimport FLOW_CLOSED, FLOW_INPUT, FLOW_ROOM, Flow, Http2Session, queue_len
from lbcore.transport.pool cimport Pool
from lbcore.transport.server_connection cimport ServerConnection
from lbcore.transport.socket cimport IO_FAILED, OwnedSocket

cdef enum:
    FIRST_STREAMS = 100        # at a time, until the server has said how many it allows
    MOST_STREAMS = 1000        # at a time, whatever it says
    INTERIM_LIMIT = 64         # 1xx answers to one request; a server that sends more never comes to the point
    PROBE_S = 30               # between the kernel's questions whether a silent server is still there
    ANY_NUMBER = 1 << 30       # of connections in a pool that have streams: only idle ones are too many

_log = logging.getLogger("lbcore.transport")


cdef ServerConnection http2_to(Server server, OwnedSocket socket):
    """A connection over a socket that is connected to the server. It owns the socket from here on."""
    cdef Http2ServerConnection connection = Http2ServerConnection.__new__(Http2ServerConnection)
    if not load():
        raise ImportError("HTTP/2 needs libnghttp2")
    connection.server = server
    connection.socket = socket
    connection.encrypted = socket.transport is not None
    connection.most = connection.available = min(server.multiplexes, <int>FIRST_STREAMS)
    connection.heard_ms = connection.idle_ms = socket.reactor.now_ms
    connection.session = Http2ServerSession.__new__(Http2ServerSession)
    connection.session.connection = connection
    connection.session.socket = socket
    connection.session.open(False, 0, 4096, 4096)
    socket.owner = connection
    socket.probe_when_idle(PROBE_S)
    return connection


@cython.final
cdef class Http2ServerSession(Http2Session):
    """The session of one connection."""

    cdef int take_field(self, Flow* flow, Span name, Span value) noexcept:
        cdef Http2ServerStream stream = <Http2ServerStream>flow.owner
        cdef Exchange exchange = stream.exchange
        stream.heard = True
        if exchange is None or stream.malformed:
            return 0
        try:
            exchange.heed(stream)
            if not flow.head_complete:
                if take_response_field(exchange.response, name, value) < 0:
                    stream.malformed = True
            elif take_trailer_field(exchange.response.trailer_section(), name, value) < 0:
                stream.malformed = True
        except Exception:
            stream.malformed = True
        return 0

    cdef void section_complete(self, Flow* flow) noexcept:
        (<Http2ServerStream>flow.owner).section_complete()

    cdef void frame_received(self, const FrameHead* frame) noexcept:
        cdef Http2ServerConnection connection = self.connection
        cdef uint32_t most
        if frame.type == NGHTTP2_SETTINGS and not frame.flags & NGHTTP2_FLAG_END_STREAM:
            most = nghttp2_session_get_remote_settings(self.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
            connection.most = MOST_STREAMS if most > MOST_STREAMS else most
            connection.server.multiplexes = max(1, <int>connection.most)
        elif frame.type == NGHTTP2_GOAWAY:
            connection.leaving = True
        elif frame.type == NGHTTP2_PING and frame.flags & NGHTTP2_FLAG_END_STREAM:
            connection.asked_ms = 0

    cdef int flow_ready(self, Flow* flow, uint8_t events) except -1:
        cdef Http2ServerStream stream = <Http2ServerStream>flow.owner
        cdef Exchange exchange = stream.exchange
        cdef uint64_t serial = 0 if exchange is None else exchange.serial
        try:
            return stream.ready(events)
        except Exception as error:
            stream.exchange = None
            self.discard(flow)
            self.reset(flow, NGHTTP2_INTERNAL_ERROR)
            if exchange is not None:
                exchange.internal_error(error, serial)
            return 0

    cdef int after_send(self) except -1:
        return 0 if self.connection is None else self.connection.proceed()

    cdef void batch_end_failed(self, object error) noexcept:
        if self.connection is not None:
            self.connection.socket_failed(self.socket, error)


@cython.final
cdef class Http2ServerConnection(ServerConnection):
    """One connection. Made by `http2_to`."""

    def __dealloc__(self):
        buffer_release(&self.text)

    cdef int go_on(self) except -1:
        self.settle()
        return self.socket_ready(self.socket, 0)

    # Events

    cdef int socket_ready(self, OwnedSocket socket, uint32_t events) except -1:
        cdef Http2ServerSession session = self.session
        cdef int result
        if self.closed:
            return 0
        events = socket.note(events)
        if events & EPOLLOUT and session.blocked:
            result = socket.push()
            if result == IO_FAILED:
                session.broken = True
            elif result == 0:
                session.blocked = False
                socket.reactor.touch(session)
        if (socket.readable or buffer_len(&socket.input)) and not session.broken:
            session.receive()
            if session.bytes_in:
                session.bytes_in = 0
                self.heard_ms = socket.reactor.now_ms
        if events & (EPOLLERR | EPOLLHUP) and session.blocked:
            session.broken = True
        return self.proceed()

    cdef int proceed(self) except -1:
        """See whether the connection is over, after anything that was received or sent."""
        cdef Http2ServerSession session = self.session
        if self.closed:
            return 0
        if session.broken or session.ended or session.failed:
            return self.failed(
                ERROR_GARBAGE if session.failed else
                ERROR_RESET if self.socket.fault == ECONNRESET or self.socket.fault == EPIPE else ERROR_EOF)
        if self.streams == 0 and (self.leaving or session.is_over()):
            return self.close()
        if session.is_over():
            return self.failed(ERROR_GARBAGE)
        return self.settle()

    cdef int settle(self) except -1:
        """Be in the pool while a stream can be opened."""
        self.available = 0 if self.leaving or self.closed else max(<Py_ssize_t>0, self.most - self.streams)
        if self.available == 0:
            if self.pool is not None:
                (<Pool>self.pool).remove(self)
        elif self.pool is None:
            (<Pool>self.server.pool).give(self, ANY_NUMBER)
        return 0

    cdef int socket_timeout(self, OwnedSocket socket) except -1:
        self.check_ms = 0
        return 0 if self.closed else self.check()

    cdef void socket_failed(self, OwnedSocket socket, object error) noexcept:
        _log.error("internal error on a connection to %s", self.server, exc_info=error)
        try:
            self.failed(ERROR_INTERNAL)
        except Exception as again:
            _log.error("internal error while ending an exchange", exc_info=again)

    cdef void socket_released(self, OwnedSocket socket) noexcept:
        if self.closed:
            self.session.connection = None
            self.session.free()

    # Time

    cdef int check_by(self, int64_t until_ms) except -1:
        """Call `check` by then."""
        if self.check_ms and self.check_ms <= until_ms:
            return 0
        self.check_ms = until_ms
        return self.socket.reactor.arm(self.socket, max(<int64_t>0, until_ms - self.socket.reactor.now_ms))

    cdef int check(self) except -1:
        """Look at everything that has a time limit, and see when to look again."""
        cdef int64_t now_ms = self.socket.reactor.now_ms
        cdef UpstreamPolicy policy = self.policy
        cdef Http2ServerStream stream = self.first, older
        if self.streams == 0:
            if policy.idle_timeout_ms and now_ms >= self.idle_ms + policy.idle_timeout_ms:
                return self.close()
            if policy.idle_timeout_ms:
                self.check_by(self.idle_ms + policy.idle_timeout_ms)
        if self.asked_ms and self.heard_ms >= self.asked_ms:
            self.asked_ms = 0
        if policy.ping_timeout_ms and self.asked_ms:
            if now_ms >= self.asked_ms + policy.ping_timeout_ms:
                return self.failed(ERROR_TIMEOUT)
            self.check_by(self.asked_ms + policy.ping_timeout_ms)
        if policy.read_idle_timeout_ms and not self.asked_ms:
            if now_ms >= self.heard_ms + policy.read_idle_timeout_ms:
                self.asked_ms = now_ms
                nghttp2_submit_ping(self.session.session, NGHTTP2_FLAG_NONE, NULL)
                self.socket.reactor.touch(self.session)
                self.check_by(now_ms + (policy.ping_timeout_ms or policy.read_idle_timeout_ms))
            else:
                self.check_by(self.heard_ms + policy.read_idle_timeout_ms)
        while stream is not None:
            older = stream.older
            if stream.answer_until_ms and stream.exchange is not None:
                if now_ms >= stream.answer_until_ms:
                    self.session.reset(&stream.flow, NGHTTP2_CANCEL)
                    stream.fail(ERROR_TIMEOUT)
                else:
                    self.check_by(stream.answer_until_ms)
            stream = older
        return 0

    # Streams

    cdef ServerStream open_stream(self):
        cdef Http2ServerStream stream = Http2ServerStream.__new__(Http2ServerStream)
        stream.connection = self
        stream.server = self.server
        stream.first_used = self.reused
        stream.flow.owner = <void*>stream
        stream.older = self.first
        if self.first is not None:
            self.first.newer = stream
        self.first = stream
        stream.linked = True
        self.streams += 1
        self.available -= 1
        return stream

    cdef int stream_over(self, Http2ServerStream stream) except -1:
        """The stream is closed, and nothing of it is waited for any more."""
        if not stream.linked:
            return 0
        stream.linked = False
        if stream.newer is not None:
            stream.newer.older = stream.older
        else:
            self.first = stream.older
        if stream.older is not None:
            stream.older.newer = stream.newer
        stream.newer = stream.older = None
        stream.connection = None
        self.session.forget(&stream.flow)
        self.streams -= 1
        if self.streams == 0 and not self.closed:
            self.idle_ms = self.socket.reactor.now_ms
            if self.leaving or self.policy is None or self.policy.max_idle <= 0 or (
                    self.pool is not None and (<Pool>self.pool).count > self.policy.max_idle):
                self.leaving = True
                self.socket.reactor.touch(self.session)        # `proceed` closes it
            elif self.policy.idle_timeout_ms:
                self.check_by(self.idle_ms + self.policy.idle_timeout_ms)
        return self.settle()

    # The end

    cdef int failed(self, int error) except -1:
        """Close, and tell every exchange."""
        cdef Http2ServerStream stream
        if self.closed:
            return 0
        self.leaving = True
        self.shut()
        while self.first is not None:
            stream = self.first
            self.stream_over(stream)
            stream.fail(error)
        return 0

    cdef int close(self) except -1:
        """Open no more streams, and close when the last one has ended: now, if there is none."""
        if self.closed:
            return 0
        self.leaving = True
        if self.streams == 0:
            return self.shut()
        return self.settle()

    cdef int shut(self) except -1:
        self.closed = True
        self.session.broken = True     # nothing is sent any more
        self.settle()
        self.socket.shut()
        return 0


@cython.final
cdef class Http2ServerStream(ServerStream):
    """One exchange."""

    cdef bint was_reused(self) noexcept:
        return self.first_used

    cdef bint was_refused(self) noexcept:
        return self.refused

    # The request

    cdef int start(self, Exchange exchange) except -1:
        cdef Http2ServerConnection connection = self.connection
        cdef Http2ServerSession session = connection.session
        cdef bint has_body = exchange.request.framing.body != BODY_NONE
        cdef int result
        self.exchange = exchange
        connection.policy = exchange.attempt.balancer.policy
        exchange.forward.server_authority = self.server.authority
        exchange.response.clear()
        result = render_request(exchange.request, &exchange.forward, self.server.prefix, &connection.text)
        if result == 0:
            result = list_request(exchange.request, connection.text.base + connection.text.start, buffer_len(&connection.text),
                                  connection.encrypted, &session.list)
        if result == 0:
            result = session.request(&self.flow, has_body)
        buffer_release(&connection.text)
        if result < 0:
            raise MemoryError
        self.sent = not has_body
        if self.sent:
            self.await_answer()
        if connection.policy.read_idle_timeout_ms:
            connection.check_by(connection.socket.reactor.now_ms + connection.policy.read_idle_timeout_ms)
        return 0

    cdef int await_answer(self) except -1:
        """The request is complete: limit the time until the answer begins."""
        cdef int64_t limit_ms = self.connection.policy.response_header_timeout_ms
        if not limit_ms or self.in_body:
            return 0
        self.answer_until_ms = self.connection.socket.reactor.now_ms + limit_ms
        return self.connection.check_by(self.answer_until_ms)

    cdef int put(self, Span data) except -1:
        if self.connection is None or data.len == 0:
            return 0
        self.connection.session.put(&self.flow, data)
        self.blocked = self.flow.full
        self.server.stats.bytes_out += data.len
        return 0

    cdef int end(self, Message trailers) except -1:
        self.sent = True
        if self.connection is None:
            return 0
        self.connection.session.put_end(&self.flow, trailers)
        return self.await_answer()

    cdef int flush(self) except -1:
        if self.connection is not None and not self.connection.closed:
            return self.connection.socket.reactor.touch(self.connection.session)
        return 0

    # What comes

    cdef void section_complete(self) noexcept:
        """A field section has come: an interim answer, the head of the final one, or its trailers. Called by the library."""
        cdef Exchange exchange = self.exchange
        cdef Response response
        if self.flow.head_complete or exchange is None or self.malformed:
            self.flow.head_complete = True
            return
        response = exchange.response
        if not 100 <= response.status < 200:
            self.flow.head_complete = True
            return
        self.interims += 1
        if self.interims > INTERIM_LIMIT or complete_response(response, False, False) < 0:
            self.malformed = self.flow.head_complete = True
            return
        if response.status == 100:
            response.clear()
            return
        try:
            exchange.interim_head()
        except Exception as error:
            _log.error("internal error while passing on an interim answer", exc_info=error)
            self.malformed = self.flow.head_complete = True

    cdef int ready(self, int events) except -1:
        if self.exchange is not None:
            self.exchange.heed(self)
        if self.exchange is not None and events & FLOW_INPUT and self.flow.head_complete and not self.in_body:
            if self.read_head():
                return self.over(events)
        if self.exchange is not None and self.in_body:
            self.read_body()
        if self.exchange is not None and events & FLOW_ROOM and self.blocked:
            self.blocked = False
            if not self.sent:
                self.exchange.server_ready()
        return self.over(events)

    cdef int over(self, int events) except -1:
        """See what the end of the stream means, if it has come."""
        cdef Http2ServerConnection connection = self.connection
        if not self.flow.closed or connection is None:
            return 0
        if self.exchange is not None and self.in_body and self.flow.ended:
            return 0                   # all has come, and waits for the client
        if self.exchange is not None:
            self.refused = self.flow.code == NGHTTP2_REFUSED_STREAM and not self.in_body
            self.fail(ERROR_GARBAGE if self.malformed or self.flow.code == NGHTTP2_PROTOCOL_ERROR else ERROR_RESET)
        return connection.stream_over(self)

    cdef int read_head(self) except -1:
        """The head of the final answer is complete. Returns 0, or 1: this stream has nothing more to read for the exchange."""
        cdef Exchange exchange = self.exchange
        cdef Message trailers = exchange.response.trailers
        cdef bint ended = self.flow.ended and queue_len(&self.flow.input) == 0 and (trailers is None or trailers.n_headers == 0)
        if self.malformed or complete_response(exchange.response, ended, exchange.request.is_head) < 0:
            self.connection.session.reset(&self.flow, NGHTTP2_PROTOCOL_ERROR)
            self.fail(ERROR_GARBAGE)
            return 1
        self.in_body = True
        self.answer_until_ms = 0
        return exchange.response_head()

    cdef int resume(self) except -1:
        cdef Http2ServerStream stream = self       # the last reference may be the exchange's, which ends with the answer
        if not self.in_body:
            return 0
        stream.read_body()
        return stream.over(0)

    cdef int read_body(self) except -1:
        """Pass on what has come, as far as the client takes it."""
        cdef Exchange exchange = self.exchange
        cdef Sink sink = exchange.answer_sink
        cdef Py_ssize_t n
        cdef int status
        while True:
            n = queue_len(&self.flow.input)
            if n == 0:
                break
            if sink.blocked:
                return 0               # `resume` goes on
            status = 0
            if exchange.response.framing.body != BODY_NONE:
                status = sink.put(span_of(self.flow.input.base + self.flow.input.start, n))
            self.server.stats.bytes_in += n
            if self.connection is not None:
                self.connection.session.consume(&self.flow, n)
            if status:
                return exchange.answer_refused(status)
        if not self.flow.ended:
            return sink.flush()
        return 0 if exchange.pending is not None else self.complete()      # `resume` comes when the answer waits no more

    cdef int complete(self) except -1:
        """The answer is complete. The exchange is told last: it may be used again within that call."""
        cdef Exchange exchange = self.exchange
        cdef Http2ServerConnection connection = self.connection
        cdef Message trailers = exchange.response.trailers
        cdef int status
        if trailers is not None and trailers.n_headers == 0:
            trailers = None
        status = exchange.answer_sink.end(trailers)
        if status:
            return exchange.answer_refused(status)
        self.exchange = None
        self.blocked = False
        connection.reused = True
        connection.session.credit += 10
        if not self.sent:
            connection.session.reset(&self.flow, NGHTTP2_CANCEL)
        if self.flow.closed:
            connection.stream_over(self)
        return exchange.response_end()

    # The end

    cdef int fail(self, int error) except -1:
        """Tell the exchange, if there is one, that there will be no answer, or no more of it."""
        cdef Exchange exchange = self.exchange
        cdef uint64_t serial
        self.exchange = None
        if exchange is None:
            return 0
        if self.connection is not None:
            self.connection.session.discard(&self.flow)
        serial = exchange.serial
        exchange.heed(self)
        try:
            exchange.server_failed(error, self.heard)
        except Exception as problem:
            exchange.internal_error(problem, serial)
        return 0

    cdef int abort(self) except -1:
        cdef Http2ServerConnection connection = self.connection
        self.exchange = None
        if connection is None:
            return 0
        connection.session.discard(&self.flow)
        if self.flow.id == 0 or self.flow.closed:
            return connection.stream_over(self)
        return connection.session.reset(&self.flow, NGHTTP2_CANCEL)
