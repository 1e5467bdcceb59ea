"""Streams of a client over QUIC: each is one exchange, a connection carries many.

What a stream is to its exchange, when it has taken too long, and how a connection ends without hurry: the same as in HTTP/2
(`http2_client`), without a socket and without frames, which the session has (`FlowSession`).
"""

import logging

cimport cython
from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
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
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport ClientStream, Exchange, ServerStream
from lbcore.proxy.whole cimport exchange_give, exchange_take
from lbcore.state.layout cimport ERROR_BAD_REQUEST, ERROR_CLIENT_TIMEOUT, ERROR_INTERNAL
from lbcore.transport.clock cimport http_date
from lbcore.transport.connection cimport ClientConnection
from lbcore.transport.flow cimport (
    FLOW_CLOSED, FLOW_INPUT, FLOW_ROOM, RESET_CONNECT, RESET_INTERNAL, RESET_MALFORMED, Flow, FlowSession, queue_len,
)
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, OwnedSocket, SocketOwner

cdef enum:
    KEPT_STREAMS = 1024        # kept for reuse
    RESET_COST = 10            # of the session's credit: a stream that ended before its answer was complete
    LEAVE_MS = 1000            # how long a client that was told to begin no more streams may not know it yet
    BODY_GRACE_MS = 10000      # before the rate of a body counts

cdef FlowStream kept = None    # the first of those that wait to be used again, linked by `older`
cdef int kept_count = 0

_log = logging.getLogger("lbcore.transport")


cdef class FlowConnection(ClientConnection):
    """A connection without its protocol. Its maker sets `reactor`, `streams_of` and what is known of the
    client, and keeps `is_open`."""

    # Fields

    cdef int take_field(self, Flow* flow, Span name, Span value) noexcept:
        """A field of the section that is coming: of a head, or trailers. 0, or -1: the stream has to be reset."""
        cdef FlowStream stream = <FlowStream>flow.owner
        cdef Exchange exchange = stream.exchange
        if exchange is None:
            return 0
        if not flow.head_complete:
            if take_request_field(&stream.fields, exchange.request, name, value, &self.entry_point.policy) < 0:
                return -1
            if stream.fields.bytes > 2 * self.entry_point.policy.max_header_bytes:
                self.streams_of.spend(1)          # a few bytes may stand for so many by way of the table
            return 0
        try:
            if take_trailer_field(exchange.request.trailer_section(), name, value) == 0:
                return 0
        except Exception:
            pass
        return -1

    # Time

    cdef int check_by(self, int64_t until_ms) except -1:
        """Call `check` by then."""
        if self.check_ms and self.check_ms <= until_ms:
            return 0
        self.check_ms = until_ms
        return self.set_timer(max(<int64_t>0, until_ms - self.reactor.now_ms))

    cdef int check(self) except -1:
        """Look at everything that has a time limit, and see when to look again."""
        cdef int64_t now_ms = self.reactor.now_ms, limit_ms
        cdef FlowStream stream = self.first, older
        if self.leaving == LEAVING_TOLD:
            if now_ms >= self.leave_ms:
                self.leave_for_good()
            else:
                self.check_by(self.leave_ms)
        if self.streams == 0 and self.leaving == LEAVING_NOT:
            limit_ms = self.entry_point.limits.idle_timeout_ms if self.requests else self.entry_point.limits.read_timeout_ms
            if limit_ms and now_ms >= self.idle_ms + limit_ms:
                return self.leave_softly() if self.requests else self.leave_for_good()
            if limit_ms:
                self.check_by(self.idle_ms + limit_ms)
        limit_ms = self.entry_point.limits.header_timeout_ms
        if self.section_ms and limit_ms:
            if now_ms >= self.section_ms + limit_ms:
                self.entry_point.stats.errors[<int>ERROR_CLIENT_TIMEOUT] += 1
                return self.abort()
            self.check_by(self.section_ms + limit_ms)
        while stream is not None and self.is_open:
            older = stream.older
            if stream.exchange is not None:
                stream.check(now_ms)
            stream = older
        return 0

    cdef int64_t idle_since_ms(self) noexcept:
        return self.idle_ms if self.is_open and self.streams == 0 and self.section_ms == 0 else -1

    cdef int set_timer(self, int64_t delay_ms) except -1:
        """Have `check` called after that time."""
        return 0

    # Streams

    cdef void link(self, FlowStream stream) noexcept:
        stream.older = self.first
        if self.first is not None:
            self.first.newer = stream
        self.first = stream
        self.streams += 1
        if self.streams == 1:
            self.streams_changed()

    cdef void unlink(self, FlowStream stream) noexcept:
        if stream.newer is not None:
            stream.newer.older = stream.older
        else:
            self.first = stream.older
        if stream.older is not None:
            stream.older.newer = stream.newer
        stream.newer = stream.older = None
        self.streams -= 1
        if self.streams == 0:
            self.streams_changed()

    cdef void streams_changed(self) noexcept:
        """The first stream has begun, or the last one has ended."""
        pass

    # The end

    cdef int drain(self) except -1:
        return self.leave_softly() if self.is_open else 0

    cdef int leave_softly(self) except -1:
        """Tell the client to begin no more streams. Those that it begins before it knows are served: `leave_for_good` follows
        when it has acknowledged that, or after LEAVE_MS."""
        if self.leaving != LEAVING_NOT:
            return 0
        self.leaving = LEAVING_TOLD
        self.leave_ms = self.reactor.now_ms + LEAVE_MS
        self.check_by(self.leave_ms)
        return self.tell_leaving()

    cdef int leave_for_good(self) except -1:
        """The connection ends with the streams that it has now."""
        if self.leaving == LEAVING_FOR_GOOD:
            return 0
        self.leaving = LEAVING_FOR_GOOD
        return self.tell_left()

    cdef int tell_leaving(self) except -1:
        """Send the first GOAWAY, which ends nothing yet."""
        return 0

    cdef int tell_left(self) except -1:
        """Send the last one."""
        return 0

    cdef int end_streams(self) except -1:
        """Whatever is under way is told that its client is lost."""
        cdef FlowStream stream
        cdef object problem = None
        while self.first is not None:
            stream = self.first
            try:
                stream.closed()
            except Exception as error:
                problem = error
                if self.first is stream:
                    self.unlink(stream)
        if problem is not None:
            raise problem
        return 0


@cython.final
cdef class FlowTunnel(SocketOwner):
    """Bytes both ways between a stream (RFC 9220) and a server's socket, after a switch of protocols."""

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
        """Move what there is, both ways, as far as it goes. Called when either end has something, or takes something."""
        if self.stream is None:
            return 0
        if self.pump_up() or self.pump_down():
            return self.finish(True)
        return self.finish(False) if self.up_ended and self.down_ended else 0

    cdef bint pump_up(self) except *:
        """From the client to the server. True: the server's end broke."""
        cdef Flow* flow = &self.stream.flow
        cdef FlowSession session = self.stream.connection.streams_of
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
        """The other way round."""
        cdef Flow* flow = &self.stream.flow
        cdef FlowSession session = self.stream.connection.streams_of
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
        """Both ends have ended, or one broke, or the stream was reset."""
        cdef FlowStream stream = self.stream
        cdef Exchange exchange
        if stream is None:
            return 0
        self.stream = None
        self.upstream.shut()
        exchange = stream.exchange
        stream.exchange = None
        if stream.connection is not None and not stream.flow.closed:
            stream.connection.streams_of.discard(&stream.flow)
            if broken:
                stream.connection.streams_of.reset(&stream.flow, RESET_CONNECT)
        if exchange is not None:
            try:
                exchange.tunnel_ended()
            finally:
                exchange_give(exchange)
        return 0


@cython.final
cdef class FlowStream(ClientStream):
    """One stream. It is kept by the connection until the library has closed it, whatever becomes of its exchange."""

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
        """The head is complete."""
        cdef FlowConnection connection = self.connection
        cdef Exchange exchange = self.exchange
        cdef Message trailers = exchange.request.trailers
        # The end may have come in the same breath, with a body or trailers before it.
        cdef bint ended = self.flow.ended and queue_len(&self.flow.input) == 0 and (trailers is None or trailers.n_headers == 0)
        cdef int status
        self.begun = True
        self.take()
        status = complete_request(&self.fields, exchange.request, ended, &connection.entry_point.policy)
        exchange.request.head.major_version = 3
        if status == FIELDS_MALFORMED:
            connection.entry_point.stats.errors[<int>ERROR_BAD_REQUEST] += 1
            self.exchange = None
            exchange_give(exchange)
            return connection.streams_of.reset(&self.flow, RESET_MALFORMED)
        if not self.fields.prioritised:
            connection.streams_of.share(&self.flow)
        connection.requests += 1
        if connection.reached_keep_alive_limit():
            connection.leave_softly()
        if status:
            return self.refuse(status, ERROR_BAD_REQUEST)
        if exchange.request.framing.body == BODY_NONE:
            self.told_end = True
            self.limit_answer()
        else:
            self.continue_sent = not exchange.request.framing.expects_continue
            self.began_ms = connection.reactor.now_ms
            if connection.entry_point.limits.read_timeout_ms or connection.entry_point.limits.min_body_rate:
                connection.check_by(self.began_ms + self.patience_ms())
        return exchange.begin()

    cdef int take(self) except -1:
        """Tell the exchange whose request it is."""
        cdef FlowConnection connection = self.connection
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
        """The library has closed the stream, or the connection ends: nothing of it stays."""
        cdef FlowConnection connection = self.connection
        cdef Exchange exchange
        cdef FlowTunnel tunnel = self.tunnel
        if tunnel is not None:
            self.tunnel = None
            self.flow.closed = True
            tunnel.finish(False)
        exchange = self.exchange
        self.connection = None
        self.exchange = None
        self.flow.closed = True
        if exchange is None:
            connection.streams_of.credit += RESET_COST
        else:
            connection.streams_of.spend(RESET_COST)
        connection.streams_of.forget(&self.flow)
        connection.unlink(self)
        if connection.streams == 0:
            connection.idle_ms = connection.reactor.now_ms
            if connection.is_open and connection.entry_point.limits.idle_timeout_ms:
                connection.check_by(connection.idle_ms + connection.entry_point.limits.idle_timeout_ms)
        try:
            if exchange is not None and self.begun:
                exchange.client_gone()
        finally:
            if exchange is not None:
                exchange_give(exchange)
            stream_give(self)
        return 0

    cdef int failed(self, object error) except -1:
        """An unexpected error, in this stream alone."""
        cdef Exchange exchange = self.exchange
        _log.error("internal error in a stream of HTTP/3", exc_info=error)
        if exchange is None or self.connection is None:
            return 0
        self.connection.streams_of.reset(&self.flow, RESET_INTERNAL)
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
        """The request is complete: limit the time until the answer is out."""
        cdef int64_t limit_ms = self.connection.entry_point.limits.write_timeout_ms
        self.answer_until_ms = 0
        if limit_ms:
            self.answer_until_ms = self.connection.reactor.now_ms + limit_ms
            return self.connection.check_by(self.answer_until_ms)
        return 0

    cdef int check(self, int64_t now_ms) except -1:
        cdef int64_t left_ms
        if not self.told_end and self.begun:
            left_ms = self.patience_ms()
            if left_ms <= 0:
                return self.exchange.client_stalled(408)
            return 0 if left_ms == INT64_MAX else self.connection.check_by(now_ms + left_ms)
        if self.answer_until_ms:
            if now_ms >= self.answer_until_ms:
                return self.exchange.client_stalled(504)
            return self.connection.check_by(self.answer_until_ms)
        return 0

    cdef int64_t patience_ms(self) noexcept:
        """How long the body may still take before it is given up: by its rate and by the time for a whole request."""
        cdef EntryPoint entry_point = self.connection.entry_point
        cdef int64_t now_ms = self.connection.reactor.now_ms, left_ms = INT64_MAX, waited_ms
        if entry_point.limits.read_timeout_ms:
            left_ms = self.began_ms + entry_point.limits.read_timeout_ms - now_ms
        if entry_point.limits.min_body_rate:
            waited_ms = now_ms - self.began_ms - self.excused_ms
            if self.blocked_ms:
                waited_ms -= now_ms - self.blocked_ms
            left_ms = min(left_ms, BODY_GRACE_MS - waited_ms
                          + <int64_t>(self.exchange.request_bytes * 1000 // <uint64_t>entry_point.limits.min_body_rate))
        return left_ms

    # The request's body

    cdef int want_body(self) except -1:
        cdef FlowConnection connection = self.connection
        cdef Exchange exchange = self.exchange
        cdef Sink sink = exchange.body_sink()
        cdef Py_ssize_t n
        cdef int status
        if self.told_end:
            return 0 if sink is None else sink.flush()
        if sink is None or sink.blocked:
            return self.wait_for_server()
        if self.blocked_ms:
            self.excused_ms += connection.reactor.now_ms - self.blocked_ms
            self.blocked_ms = 0
        if not self.continue_sent:
            self.continue_sent = True
            if queue_len(&self.flow.input) == 0 and not self.flow.ended:    # else it did not wait for that
                connection.streams_of.inform(&self.flow, 100)
        while True:
            n = queue_len(&self.flow.input)
            if n == 0:
                break
            status = sink.put(span_of(self.flow.input.base + self.flow.input.start, n))
            exchange.request_bytes += n
            connection.streams_of.consume(&self.flow, n)
            if status:
                return exchange.body_refused(status)
            if sink.blocked:
                return self.wait_for_server()
        if not self.flow.ended:
            return sink.flush()
        self.told_end = True
        self.limit_answer()
        return exchange.request_end(exchange.request.trailers_to_forward())

    cdef int wait_for_server(self) except -1:
        """The server takes no more for now, or there is none yet: nothing is taken meanwhile, and time does not count."""
        if not self.blocked_ms:
            self.blocked_ms = self.connection.reactor.now_ms
        return 0

    # The answer

    cdef int put_head(self, Response response) except -1:
        cdef FlowSession session
        if self.connection is None:
            return 0
        session = self.connection.streams_of
        if self.exchange.stream is None and response.status != 200 and is_grpc(self.exchange.request):
            # An answer of lbcore's own.
            self.mute = True
            if list_grpc_status(response.status, &session.list) < 0:
                raise MemoryError
            return session.respond(&self.flow, False)
        if response.status == 101:
            response.drop(b"sec-websocket-accept", 20)     # of a key that the client has not sent
        if list_response(response, http_date(), &session.list) < 0:
            raise MemoryError
        return session.respond(&self.flow, response.framing.body != BODY_NONE or response.status == 101)

    cdef int put_interim(self, Response response) except -1:
        cdef FlowSession session
        if self.connection is None:
            return 0
        session = self.connection.streams_of
        if list_response(response, span_of(NULL, 0), &session.list) < 0:
            raise MemoryError
        return session.inform(&self.flow, 0)

    cdef int put(self, Span data) except -1:
        if self.connection is None or data.len == 0 or self.mute:
            return 0
        self.connection.streams_of.put(&self.flow, data)
        self.blocked = self.flow.full
        self.exchange.response_bytes += data.len
        return 0

    cdef int end(self, Message trailers) except -1:
        return 0 if self.connection is None else self.connection.streams_of.put_end(&self.flow, trailers)

    cdef int flush(self) except -1:
        if self.connection is not None and self.connection.is_open:
            return self.connection.reactor.touch(self.connection.streams_of)
        return 0

    cdef int switch(self, ServerStream server) except -1:
        cdef object upstream = server.take_socket()
        cdef FlowTunnel tunnel
        if upstream is None or self.connection is None:
            return self.exchange.answer_refused(502)
        tunnel = FlowTunnel.__new__(FlowTunnel)
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
            # What the client still sends of its request is wanted by nobody (RFC 9113 section 8.1).
            self.connection.streams_of.discard(&self.flow)
            self.connection.streams_of.end_both(&self.flow)
        return 0

    cdef int abort(self) except -1:
        """A client must not take half an answer for a whole one."""
        cdef Exchange exchange = self.exchange
        self.exchange = None
        exchange_give(exchange)
        if self.connection is None:
            return 0
        self.connection.streams_of.discard(&self.flow)
        return self.connection.streams_of.reset(&self.flow, RESET_INTERNAL)


cdef FlowStream stream_take(FlowConnection connection, int64_t stream_id):
    """A stream that has just begun, among those of its connection. Usually O(1) without a heap call."""
    global kept, kept_count
    cdef FlowStream stream = kept
    if stream is not None:
        kept = stream.older
        stream.older = None
        kept_count -= 1
    else:
        stream = FlowStream.__new__(FlowStream)
    memset(&stream.flow, 0, sizeof(stream.flow))
    memset(&stream.fields, 0, sizeof(stream.fields))
    stream.flow.id = stream_id
    stream.flow.owner = <void*>stream
    stream.blocked = stream.begun = stream.told_end = stream.mute = False
    stream.continue_sent = True
    stream.tunnel = None
    stream.began_ms = stream.excused_ms = stream.blocked_ms = stream.answer_until_ms = 0
    stream.exchange = exchange_take(connection.entry_point, stream, connection.dialer)
    stream.connection = connection
    connection.link(stream)
    return stream


cdef void stream_give(FlowStream stream) noexcept:
    global kept, kept_count
    if POOLS and kept_count < KEPT_STREAMS:
        stream.older = kept
        kept = stream
        kept_count += 1
