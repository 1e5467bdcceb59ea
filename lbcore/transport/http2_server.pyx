"""HTTP/2 towards a server: a connection, its session, and a stream for each exchange (RFC 9113).

A connection opens its first stream when the SETTINGS of the server have said how many it may open, and stays in the pool while it
can open one. A request that the server has refused unprocessed (REFUSED_STREAM, or a stream above the last one of a GOAWAY) is sent
once more, and so is one that was not sent yet when the server came to allow fewer streams.
"""

import base64
import hashlib
import logging

cimport cython
from libc.errno cimport ECONNRESET, EPIPE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from lbcore.http.fields cimport complete_response, list_request, take_response_field, take_trailer_field
from lbcore.http.framing cimport BODY_NONE
from lbcore.http.message cimport Message
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.sink cimport Sink
from lbcore.http.span cimport Span, span_ieq, span_of
from lbcore.http2.nghttp2 cimport *
from lbcore.proxy.exchange cimport INTERIM_TOO_MANY, Exchange, ServerStream
from lbcore.routing.service cimport UpstreamPolicy
from lbcore.state.layout cimport ERROR_EOF, ERROR_GARBAGE, ERROR_INTERNAL, ERROR_RESET, ERROR_TIMEOUT
from lbcore.transport.dial cimport Dial
from lbcore.transport.epoll cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from lbcore.transport.flow cimport (
    FLOW_INPUT, FLOW_ROOM, RESET_CANCELLED, RESET_INTERNAL, RESET_MALFORMED, Flow, blocks_all, queue_len,
)
from lbcore.transport.flow_socket cimport flow_socket
from lbcore.transport.gathering cimport GATHERS_LONGER
from lbcore.transport.http2_session cimport Http2Session
from lbcore.transport.pool cimport Pool
from lbcore.transport.server_connection cimport ServerConnection
from lbcore.transport.socket cimport OwnedSocket

cdef enum:
    MOST_STREAMS = 1000        # most open streams, even if the server allows more
    PROBE_S = 30               # interval of the kernel's keep-alive probes to a silent server
    ANY_NUMBER = 1 << 30       # connections with open streams have no limit in the pool, only idle ones have

cdef bytes WEBSOCKET_ID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"     # RFC 6455 section 1.3

_log = logging.getLogger("lbcore.transport")


cdef bint asks_for_websocket(Request request) noexcept:
    """Whether a request can be sent as an extended CONNECT: HTTP/1 asks for a websocket by GET with these fields (RFC 6455)."""
    return request.framing.upgrade and request.framing.body == BODY_NONE \
        and span_ieq(request.find(b"upgrade", 7), b"websocket", 9) and request.find(b"sec-websocket-key", 17).len > 0


cdef ServerConnection http2_to(Server server, OwnedSocket socket):
    """A connection over a socket that is connected to the server, of which it becomes the owner."""
    cdef Http2ServerConnection connection = Http2ServerConnection.__new__(Http2ServerConnection)
    if not load():
        raise ImportError("HTTP/2 needs libnghttp2")
    connection.server = server
    connection.socket = socket
    connection.encrypted = socket.transport is not None
    connection.heard_ms = connection.idle_ms = socket.reactor.now_ms
    connection.session = Http2ServerSession.__new__(Http2ServerSession)
    connection.session.connection = connection
    connection.session.open(socket, False, 0, 4096, 4096)
    socket.owner = connection
    socket.probe_when_idle(PROBE_S)
    return connection


@cython.final
cdef class Http2ServerSession(Http2Session):
    """The session of a connection: field sections become answers."""

    def __cinit__(self):
        self.asks = True
        self.gathers = GATHERS_LONGER          # many clients share it, and their requests a call

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
            if connection.most:                # 0 holds for a short time only (RFC 9113 section 6.5.2)
                connection.server.multiplexes = <int>connection.most
            connection.takes_connect = nghttp2_session_get_remote_settings(self.session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1
            connection.allows_fewer = connection.allows_fewer or connection.most < self.open_flows
        elif frame.type == NGHTTP2_GOAWAY:
            connection.ending = connection.allows_fewer = True
        elif frame.type == NGHTTP2_PING and frame.flags & NGHTTP2_FLAG_END_STREAM:
            connection.asked_ms = 0

    cdef int flow_left(self, Flow* flow) except -1:
        return (<Http2ServerStream>flow.owner).left()

    cdef int flow_ready(self, Flow* flow, uint8_t events) except -1:
        cdef Http2ServerStream stream = <Http2ServerStream>flow.owner
        cdef Exchange exchange
        cdef uint64_t serial
        if self.connection is not None and self.connection.allows_fewer:
            self.connection.follow_limit()     # before requests that were refused look for another stream
        exchange = stream.exchange
        serial = 0 if exchange is None else exchange.serial
        try:
            return stream.ready(events)
        except Exception as error:
            stream.exchange = None
            self.discard(flow)
            self.reset(flow, RESET_INTERNAL)
            if exchange is not None:
                exchange.internal_error(error, serial)
            return 0

    cdef int after_send(self) except -1:
        return 0 if self.connection is None else self.connection.proceed()


@cython.final
cdef class Http2ServerConnection(ServerConnection):
    """A connection of HTTP/2. `http2_to` makes it."""

    cdef int await_streams(self, Dial dial, UpstreamPolicy policy) except -1:
        cdef int64_t limit_ms = policy.dial_timeout_ms
        self.dial = dial
        self.policy = policy
        if policy.response_header_timeout_ms:
            limit_ms = min(limit_ms or policy.response_header_timeout_ms, policy.response_header_timeout_ms)
        self.socket.reactor.touch(self.session)        # our SETTINGS go at once
        if not limit_ms:
            return 0
        self.opens_until_ms = self.socket.reactor.now_ms + limit_ms
        return self.session.check_by(self.opens_until_ms)

    cdef int go_on(self) except -1:
        return self.socket_ready(self.socket, 0)

    # Events

    cdef int socket_ready(self, OwnedSocket socket, uint32_t events) except -1:
        cdef Http2ServerSession session = self.session
        if self.closed:
            return 0
        session.socket_event(socket.note(events))
        if session.bytes_in:
            session.bytes_in = 0
            self.heard_ms = socket.reactor.now_ms
        return self.proceed()

    cdef int proceed(self) except -1:
        """Close if the session has ended. Called after anything was received or sent."""
        cdef Http2ServerSession session = self.session
        cdef Dial dial
        if self.closed:
            return 0
        if session.deaf and self.dial is None:
            self.ending = True                         # it is read to its end, and opens no stream any more
        if self.allows_fewer:
            self.follow_limit()
        if session.broken or session.ended or session.failed:
            return self.failed(
                ERROR_GARBAGE if session.failed else
                ERROR_RESET if self.socket.fault == ECONNRESET or self.socket.fault == EPIPE else ERROR_EOF)
        if self.dial is not None and self.ending:
            self.dial.refused = True
            return self.failed(ERROR_EOF)
        if self.dial is not None and session.is_finished():
            return self.failed(ERROR_GARBAGE)          # the server speaks something else, such as HTTP/1
        if session.open_flows == 0 and (self.ending or session.is_finished()):
            return self.close()
        if session.is_finished():
            return self.failed(ERROR_GARBAGE)
        self.settle()
        dial = self.dial or <Dial>self.server.dialling
        if self.available and dial is not None:
            dial.offered(self)
            return self.settle()
        return 0

    cdef int follow_limit(self) except -1:
        """Have requests that exceed what the server allows now sent elsewhere, the newest first. The library keeps them unsent, and
        would send none of them after a GOAWAY."""
        cdef Http2ServerSession session = self.session
        cdef Http2ServerStream stream = stream_of(session.newest), older
        self.allows_fewer = False
        self.settle()                                  # none of them is to come back
        while stream is not None and not self.closed and (self.ending or session.open_flows > self.most):
            older = stream_of(stream.flow.older)       # a reference: the end of a stream may end others
            if stream.exchange is not None and not stream.flow.closed \
                    and nghttp2_session_get_stream_local_close(session.session, <int32_t>stream.flow.id) < 0:
                stream.refused = True
                session.reset(&stream.flow, RESET_CANCELLED)
                stream.fail(ERROR_RESET)
                self.stream_closed(stream)
            stream = older
        return 0

    cdef int settle(self) except -1:
        """Put the connection into the pool, or take it out, by whether a stream can be opened."""
        self.available = 0 if self.ending or self.closed else max(<Py_ssize_t>0, self.most - self.session.open_flows)
        if self.available == 0:
            if self.pool is not None:
                (<Pool>self.pool).remove(self)
        elif self.pool is None:
            (<Pool>self.server.pool).give(self, ANY_NUMBER)
        return 0

    cdef int socket_timeout(self, OwnedSocket socket) except -1:
        self.session.check_ms = 0
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

    cdef int check(self) except -1:
        """End everything that has reached its time limit, and set the timer for the rest."""
        cdef Http2ServerSession session = self.session
        cdef int64_t now_ms = self.socket.reactor.now_ms
        cdef UpstreamPolicy policy = self.policy
        cdef Http2ServerStream stream, older
        if self.dial is not None and self.opens_until_ms:
            if now_ms >= self.opens_until_ms:
                return self.failed(ERROR_TIMEOUT)
            session.check_by(self.opens_until_ms)
        if session.open_flows == 0 and self.dial is None:
            if policy.idle_timeout_ms and now_ms >= self.idle_ms + policy.idle_timeout_ms:
                return self.close()
            if policy.idle_timeout_ms:
                session.check_by(self.idle_ms + policy.idle_timeout_ms)
        if self.asked_ms and self.heard_ms >= self.asked_ms:
            self.asked_ms = 0
        if policy.ping_timeout_ms and self.asked_ms:
            if now_ms >= self.asked_ms + policy.ping_timeout_ms:
                return self.failed(ERROR_TIMEOUT)
            session.check_by(self.asked_ms + policy.ping_timeout_ms)
        if policy.read_idle_timeout_ms and not self.asked_ms:
            if now_ms >= self.heard_ms + policy.read_idle_timeout_ms:
                self.asked_ms = now_ms
                nghttp2_submit_ping(session.session, NGHTTP2_FLAG_NONE, NULL)
                self.socket.reactor.touch(session)
                session.check_by(now_ms + (policy.ping_timeout_ms or policy.read_idle_timeout_ms))
            else:
                session.check_by(self.heard_ms + policy.read_idle_timeout_ms)
        stream = stream_of(session.newest)
        while stream is not None:
            older = stream_of(stream.flow.older)       # a reference: the end of a stream may end others
            if stream.answer_until_ms and stream.exchange is not None:
                if now_ms >= stream.answer_until_ms:
                    session.reset(&stream.flow, RESET_CANCELLED)
                    stream.fail(ERROR_TIMEOUT)
                else:
                    session.check_by(stream.answer_until_ms)
            stream = older
        return 0

    # Streams

    cdef ServerStream open_stream(self):
        cdef Http2ServerStream stream = Http2ServerStream.__new__(Http2ServerStream)
        stream.connection = self
        stream.server = self.server
        stream.first_used = self.reused
        stream.flow.owner = <void*>stream
        self.session.link(&stream.flow)
        self.available -= 1
        return stream

    cdef int stream_closed(self, Http2ServerStream stream) except -1:
        """Release a stream that is closed and of which nothing is awaited any more. The caller holds a reference to it."""
        cdef Http2ServerSession session = self.session
        if not stream.flow.linked:
            return 0
        stream.connection = None
        session.release(&stream.flow)
        session.unlink(&stream.flow)
        if session.open_flows == 0 and not self.closed:
            self.idle_ms = self.socket.reactor.now_ms
            if self.ending or self.policy is None or self.policy.max_idle <= 0 or (
                    self.pool is not None and (<Pool>self.pool).count > self.policy.max_idle):
                self.ending = True
                self.socket.reactor.touch(session)     # `proceed` closes it
            elif self.policy.idle_timeout_ms:
                session.check_by(self.idle_ms + self.policy.idle_timeout_ms)
        return self.settle()

    # The end

    cdef int failed(self, int error) except -1:
        """Close, and report the error to every exchange whose answer is incomplete."""
        cdef Http2ServerStream stream
        cdef Dial dial = self.dial
        if self.closed:
            return 0
        self.ending = True
        self.dial = None
        self.shut()
        if dial is not None:
            dial.failed(error)
        while True:
            stream = self.incomplete()
            if stream is None:
                return 0
            if stream.has_tunnel():
                stream.flow.closed = True
                stream.tell_tunnel(0)
            else:
                self.stream_closed(stream)
                stream.fail(error)

    cdef Http2ServerStream incomplete(self):
        """A stream whose answer is incomplete, or None. What has come of complete ones, and of tunnels that know of the end, still goes to
        their clients, who take it slowly: that needs no connection."""
        cdef Http2ServerStream stream = stream_of(self.session.newest)
        while stream is not None:
            if stream.exchange is not None and stream.in_body and stream.flow.ended and not stream.switched:
                stream.flow.closed = True
            elif not (stream.has_tunnel() and stream.flow.closed):
                break
            stream = stream_of(stream.flow.older)
        return stream

    cdef int close(self) except -1:
        """Open no more streams, and close when the last one has ended: now, if there is none."""
        if self.closed:
            return 0
        self.ending = True
        if self.session.open_flows == 0:
            return self.shut()
        return self.settle()

    cdef int shut(self) except -1:
        self.closed = True
        self.session.broken = True     # nothing more is sent
        self.settle()
        self.socket.shut()
        return 0


@cython.final
cdef class Http2ServerStream(ServerStream):
    """The stream of one exchange."""

    cdef bint was_reused(self) noexcept:
        return self.first_used

    cdef bint was_refused(self) noexcept:
        return self.refused

    # The request

    cdef int start(self, Exchange exchange) except -1:
        cdef Http2ServerConnection connection = self.connection
        cdef Http2ServerSession session = connection.session
        cdef bint has_body = exchange.request.framing.body != BODY_NONE
        self.exchange = exchange
        connection.policy = exchange.attempt.balancer.policy
        exchange.response.clear()
        self.asks_to_switch = connection.takes_connect and asks_for_websocket(exchange.request)
        exchange.forward.server_authority = self.server.authority
        if list_request(exchange.request, &exchange.forward, self.server.prefix, connection.encrypted, self.asks_to_switch,
                        session.list) < 0:
            raise MemoryError
        session.submit_request(&self.flow, has_body or self.asks_to_switch)
        self.flow.keeps = has_body
        session.budget = exchange.entry_point.budget
        self.sent = not has_body
        if self.sent:
            self.await_answer()
        if connection.policy.read_idle_timeout_ms:
            connection.session.check_by(connection.socket.reactor.now_ms + connection.policy.read_idle_timeout_ms)
        return 0

    cdef int await_answer(self) except -1:
        """Limit the time until the answer begins, because the request is complete."""
        cdef int64_t limit_ms = self.connection.policy.response_header_timeout_ms
        if not limit_ms or self.in_body:
            return 0
        self.answer_until_ms = self.connection.socket.reactor.now_ms + limit_ms
        return self.connection.session.check_by(self.answer_until_ms)

    cdef int put(self, Span data) except -1:
        if self.connection is None or data.len == 0:
            return 0
        self.connection.session.put(&self.flow, data)
        self.blocked = self.flow.full
        self.server.stats.bytes_out += data.len
        return 0

    cdef int end(self, Message trailers) except -1:
        self.sent = True
        if self.connection is None or self.asks_to_switch:
            return 0                           # there is no body: what ends is the request, and not the stream
        self.connection.session.put_end(&self.flow, trailers)
        return self.await_answer()

    cdef int flush(self) except -1:
        if self.connection is not None and not self.connection.closed:
            return self.connection.socket.reactor.touch(self.connection.session)
        return 0

    # The answer

    cdef void section_complete(self) noexcept:
        """Process a complete field section: an interim head, the final one, or trailers. Called by the library."""
        cdef Exchange exchange = self.exchange
        cdef Response response
        if self.flow.head_complete or exchange is None or self.malformed:
            self.flow.head_complete = True
            return
        response = exchange.response
        if not 100 <= response.status < 200:
            self.flow.head_complete = True
            return
        if complete_response(response, False, False) < 0:
            self.malformed = self.flow.head_complete = True
            return
        try:
            if self.take_interim() == INTERIM_TOO_MANY:
                self.malformed = self.flow.head_complete = True
        except Exception as error:
            _log.error("internal error while passing on an interim answer", exc_info=error)
            self.malformed = self.flow.head_complete = True

    cdef int ready(self, int events) except -1:
        if self.switched:
            return self.end_if_closed() if self.tunnel is None else self.tell_tunnel(events)
        if self.exchange is not None:
            self.exchange.heed(self)
        if self.exchange is not None and events & FLOW_INPUT and self.flow.head_complete and not self.in_body:
            if self.read_head():
                return self.end_if_closed()
        if self.exchange is not None and self.in_body:
            self.read_body()
        if self.exchange is not None and events & FLOW_ROOM and self.blocked:
            self.blocked = False
            if not self.sent:
                self.exchange.server_ready()
        return self.end_if_closed()

    cdef int end_if_closed(self) except -1:
        """End the stream if the library has closed it. An exchange whose answer is incomplete gets the error."""
        cdef Http2ServerConnection connection = self.connection
        if not self.flow.closed or connection is None or self.tunnel is not None:
            return 0
        if self.exchange is not None and self.in_body and self.flow.ended:
            return 0                   # the answer is complete, and waits for the client
        if self.exchange is not None:
            self.refused = self.flow.code == NGHTTP2_REFUSED_STREAM and not self.in_body
            self.fail(ERROR_GARBAGE if self.malformed or self.flow.code == NGHTTP2_PROTOCOL_ERROR else ERROR_RESET)
        return connection.stream_closed(self)

    cdef int read_head(self) except -1:
        """Process the complete head of the final answer. Returns 0, or 1 if the stream reads nothing more for the exchange."""
        cdef Exchange exchange = self.exchange
        cdef Message trailers = exchange.response.trailers
        cdef bint ended = self.flow.ended and queue_len(&self.flow.input) == 0 and (trailers is None or trailers.n_headers == 0)
        if self.malformed or complete_response(exchange.response, ended, exchange.request.is_head) < 0:
            self.connection.session.reset(&self.flow, RESET_MALFORMED)
            self.fail(ERROR_GARBAGE)
            return 1
        self.in_body = True
        self.connection.session.end_keeping(&self.flow)
        self.answer_until_ms = 0
        return self.switch() if self.asks_to_switch and exchange.response.status < 300 else exchange.response_head()

    cdef int switch(self) except -1:
        """Make of the server's consent the answer that HTTP/1 has for it. Returns as `read_head`."""
        cdef Exchange exchange = self.exchange
        cdef Response response = exchange.response
        cdef Span key = exchange.request.find(b"sec-websocket-key", 17)
        cdef bytes accept = base64.b64encode(hashlib.sha1(key.ptr[:key.len] + WEBSOCKET_ID).digest())
        self.switched = True
        response.status = 101
        response.framing.body = BODY_NONE
        response.framing.upgrade = True
        response.append(span_of(b"Upgrade", 7), span_of(b"websocket", 9))
        response.append(span_of(b"Sec-WebSocket-Accept", 20), response.keep(span_of(accept, len(accept))))
        exchange.switch_protocols()
        return 1

    cdef object take_socket(self):
        if self.connection is None or not self.switched:
            return None
        self.exchange = None
        self.blocked = False
        self.tunnel = flow_socket(self.connection.session, &self.flow)
        return self.tunnel

    cdef bint has_tunnel(self) noexcept:
        """Whether a tunnel has its socket, which it may have left."""
        return self.tunnel is not None and self.tunnel.owner is not None

    cdef int tell_tunnel(self, int events) except -1:
        """Pass events of the flow on to the tunnel."""
        cdef OwnedSocket socket = self.tunnel
        cdef uint32_t found = 0
        if socket.owner is None:
            return 0                           # the client has gone meanwhile
        if events & FLOW_INPUT:
            found |= EPOLLIN
        if events & FLOW_ROOM:
            found |= EPOLLOUT
        if self.flow.closed:
            found |= EPOLLIN | EPOLLHUP | (0 if self.flow.ended else EPOLLERR)
        try:
            socket.on_ready(found)
        except Exception as error:
            socket.fail(error)
        return self.end_if_closed()

    cdef int left(self) except -1:
        """The tunnel has ended, and shut its socket."""
        cdef Http2ServerConnection connection = self.connection
        cdef OwnedSocket socket = self.tunnel
        self.tunnel = None
        socket.owner = None                        # there is no reactor that would release it
        if connection is None:
            return 0
        if self.flow.closed:
            return connection.stream_closed(self)
        if not self.flow.ended or not self.flow.put_ended:
            connection.session.discard(&self.flow)
            return connection.session.reset(&self.flow, RESET_CANCELLED)
        return 0

    cdef int resume(self) except -1:
        cdef Http2ServerStream stream = self       # the last reference may be the exchange's, which ends with the answer
        if not self.in_body or self.switched:
            return 0
        stream.read_body()
        return stream.end_if_closed()

    cdef int read_body(self) except -1:
        """Pass on the input, as far as the client takes it."""
        cdef Exchange exchange = self.exchange
        cdef Sink sink = exchange.answer_sink
        cdef Py_ssize_t n
        cdef int status
        while True:
            n = queue_len(&self.flow.input)
            if n == 0:
                break
            if sink.blocked:
                return 0               # until `resume`
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
        return 0 if exchange.pending is not None else self.complete()      # `resume` is called after the wait

    cdef int complete(self) except -1:
        """End the answer. The call of the exchange comes last, because the exchange may be used again within it."""
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
        if not self.sent or (self.asks_to_switch and not self.flow.put_ended):
            connection.session.reset(&self.flow, RESET_CANCELLED)
        if self.flow.closed:
            connection.stream_closed(self)
        return exchange.response_end()

    # The end

    cdef int fail(self, int error) except -1:
        """Report the error to the exchange, if there is one: its answer will not be completed."""
        cdef Exchange exchange = self.exchange
        cdef uint64_t serial
        cdef bytes kept
        self.exchange = None
        if exchange is None:
            return 0
        if self.refused and self.flow.keeps:
            kept = blocks_all(&self.flow.output)
            if self.connection is not None:
                self.connection.session.end_keeping(&self.flow)    # its room is that of the copy
            exchange.keep_refused(kept)
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
        if self.tunnel is not None:
            self.tunnel.shut()
            return 0
        if connection is None:
            return 0
        connection.session.discard(&self.flow)
        if self.flow.id == 0 or self.flow.closed:
            return connection.stream_closed(self)
        return connection.session.reset(&self.flow, RESET_CANCELLED)


cdef inline Http2ServerStream stream_of(Flow* flow):
    """The stream of a flow; None for NULL."""
    return None if flow == NULL else <Http2ServerStream>flow.owner
