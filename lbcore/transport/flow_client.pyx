"""A client's connection of many streams, whether by HTTP/2 or HTTP/3: each stream carries one exchange.

The session (`FlowSession`) has the frames and the flow control, and each protocol its own connection: a socket in `http2_client`,
packets in `http3_client`. This is what they share: fields become requests, answers become fields, time limits, tunnels, and the
graceful end.
"""

import logging

cimport cython
from libc.stdint cimport INT64_MAX, int64_t, uint32_t
from libc.string cimport memset

from lbcore.http.buffer cimport buffer_acquire, buffer_len, buffer_release, buffer_room
from lbcore.http.fields cimport (
    FIELDS_MALFORMED, complete_request, is_grpc, list_grpc_status, list_response, take_request_field, take_trailer_field,
)
from lbcore.http.framing cimport BODY_NONE
from lbcore.http.freelist cimport FreeList, freelist_give, freelist_take
from lbcore.http.message cimport Message
from lbcore.http.response cimport Response
from lbcore.http.sink cimport Sink
from lbcore.http.span cimport Span, span_of
from lbcore.proxy.exchange cimport Exchange, ServerStream
from lbcore.routing.server cimport Server
from lbcore.proxy.whole cimport exchange_give, exchange_take
from lbcore.state.layout cimport ERROR_BAD_REQUEST, ERROR_INTERNAL
from lbcore.transport.clock cimport http_date
from lbcore.transport.connection cimport ClientConnection
from lbcore.transport.fault cimport is_gone
from lbcore.transport.flow cimport (
    FLOW_CLOSED, FLOW_INPUT, FLOW_ROOM, RESET_CONNECT, RESET_INTERNAL, RESET_MALFORMED, Flow, FlowSession, queue_len,
)
from lbcore.transport.request_stream cimport RequestStream
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, OwnedSocket, SocketOwner

cdef enum:
    RESET_COST = 10            # charge for a stream that ended before its answer was complete
    NOTICE_MS = 1000           # longest time between the two GOAWAYs of a graceful shutdown

cdef FreeList kept             # closed streams

_log = logging.getLogger("lbcore.transport")


cdef class FlowConnection(ClientConnection):
    """A connection, whatever its protocol. Its maker sets all that is known of the client."""

    # Fields

    cdef int take_field(self, Flow* flow, Span name, Span value) noexcept:
        """Take a field of a head, or of trailers. Returns 0, or -1 if the request is malformed."""
        cdef FlowStream stream = <FlowStream>flow.owner
        cdef Exchange exchange = stream.exchange
        if exchange is None:
            return 0
        if not flow.head_complete:
            if take_request_field(&stream.fields, exchange.request, name, value, &self.entry_point.policy) < 0:
                return -1
            if stream.fields.bytes > 2 * self.entry_point.policy.max_header_bytes:
                self.flows.charge(1)           # a few bytes of input expand to that many through the table
            return 0
        try:
            if take_trailer_field(exchange.request.trailer_section(), name, value) == 0:
                return 0
        except Exception:
            pass
        return -1

    # Time

    cdef int check(self) except -1:
        """End everything that has reached its time limit, and set the timer for the rest."""
        cdef FlowSession flows = self.flows
        cdef int64_t now_ms = flows.reactor.now_ms, limit_ms
        cdef FlowStream stream, older
        if self.shutdown == SHUTDOWN_NOTICE:
            if now_ms >= self.notice_until_ms:
                self.finish_shutdown()
            else:
                flows.check_by(self.notice_until_ms)
        if flows.open_flows == 0 and self.shutdown == SHUTDOWN_NOT:
            limit_ms = self.entry_point.limits.idle_timeout_ms if self.requests else self.entry_point.limits.read_timeout_ms
            if limit_ms and now_ms >= self.idle_ms + limit_ms:
                return self.begin_shutdown() if self.requests else self.finish_shutdown()
            if limit_ms:
                flows.check_by(self.idle_ms + limit_ms)
        stream = stream_of(flows.newest)
        while stream is not None and self.is_open:
            older = stream_of(stream.flow.older)       # a reference: the check may end streams
            if stream.exchange is not None:
                stream.check(now_ms)
            elif stream.answer_until_ms:
                stream.check_taken(now_ms)
            stream = older
        return 0

    cdef int64_t idle_since_ms(self) noexcept:
        return self.idle_ms if self.is_open and self.flows.open_flows == 0 else -1

    # The end

    cdef int drain(self) except -1:
        return self.begin_shutdown() if self.is_open else 0

    cdef int begin_shutdown(self) except -1:
        """Ask the client to begin no more streams (RFC 9113 section 6.8). Streams that it begins before it has read that are served:
        `finish_shutdown` follows when it has read that, as far as the protocol tells, or after a time."""
        if self.shutdown != SHUTDOWN_NOT:
            return 0
        self.shutdown = SHUTDOWN_NOTICE
        self.notice_until_ms = self.flows.reactor.now_ms + NOTICE_MS
        self.submit_notice()
        if self.is_open:
            self.flows.check_by(self.notice_until_ms)
            self.flows.reactor.touch(self.flows)
        return 0

    cdef int finish_shutdown(self) except -1:
        """Serve no more streams than those that are open, and close after them."""
        if self.shutdown == SHUTDOWN_FINAL:
            return 0
        self.shutdown = SHUTDOWN_FINAL
        self.submit_goaway()
        return self.flows.reactor.touch(self.flows)

    cdef bint handshake_holds(self) noexcept:
        """Whether the client has shown the certificate that the TLS options in force now ask for."""
        return True

    cdef int answer_is_overdue(self) except -1:
        """The client has not taken an answer in time, whose stream was ended for that."""
        return 0

    cdef int submit_notice(self) except -1:
        """Send the first GOAWAY, which refuses no stream."""
        return 0

    cdef int submit_goaway(self) except -1:
        """Send the last GOAWAY, which names the last stream that is served."""
        return 0

    cdef int end_streams(self) except -1:
        """End all exchanges under way, because their client is lost."""
        cdef FlowStream stream
        cdef object problem = None
        while self.flows.newest != NULL:
            stream = stream_of(self.flows.newest)
            try:
                stream.closed()
            except Exception as error:
                problem = error
                self.flows.unlink(&stream.flow)
        if problem is not None:
            raise problem
        return 0


@cython.final
cdef class FlowTunnel(SocketOwner):
    """Moves bytes both ways between a stream (RFC 8441, RFC 9220) and a server's socket after a switch of protocols."""

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
        cdef FlowSession session = self.stream.connection.flows
        cdef OwnedSocket upstream = self.upstream
        cdef Py_ssize_t n
        cdef int result
        while not self.up_ended:
            result = upstream.push()
            if result == IO_FAILED:
                return self.lose_server()
            if result == IO_AGAIN:
                return False
            n = queue_len(&flow.input)
            if n:
                if upstream.put(span_of(flow.input.base + flow.input.start, n)) == IO_FAILED:
                    return self.lose_server()
                session.consume(flow, n)
            elif flow.ended:
                self.up_ended = True
                if not self.down_ended:
                    upstream.shut_write()
            else:
                break
        return False

    cdef bint lose_server(self) except *:
        """The server takes nothing more; what it has sent before still goes to the client. Returns True if its connection is of no use."""
        cdef OwnedSocket upstream = self.upstream
        if not is_gone(upstream.fault):
            return True
        self.up_ended = True
        buffer_release(&upstream.output)
        upstream.readable = True
        self.stream.connection.flows.discard(&self.stream.flow)
        return False

    cdef bint pump_down(self) except *:
        """Move bytes from the server to the client. Returns True if the server's connection is broken."""
        cdef Flow* flow = &self.stream.flow
        cdef FlowSession session = self.stream.connection.flows
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
            if n == IO_FAILED and flow.output.waiting == 0:
                return True
            if n == 0 or n == IO_FAILED:
                self.down_ended = True
                session.put_end(flow, None)
            if n == IO_FAILED:                 # a reset would destroy what the server has sent before
                self.up_ended = True
                session.end_both(flow)
            if n <= 0:
                buffer_release(&upstream.input)
        return False

    cdef int finish(self, bint broken) except -1:
        """End the tunnel and its exchange, because both ends have ended, one is broken, or the stream was reset."""
        cdef FlowStream stream = self.stream
        cdef Exchange exchange
        if stream is None:
            return 0
        self.stream = None
        self.upstream.shut()
        exchange = stream.exchange
        stream.exchange = None
        if stream.connection is not None and not stream.flow.closed:
            stream.connection.flows.discard(&stream.flow)
            if broken:
                stream.connection.flows.reset(&stream.flow, RESET_CONNECT)
        if exchange is not None:
            try:
                exchange.tunnel_ended()
            finally:
                exchange_give(exchange)
        return 0


@cython.final
cdef class FlowStream(RequestStream):
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
        cdef FlowConnection connection = self.connection
        cdef Exchange exchange = self.exchange
        cdef Message trailers = exchange.request.trailers
        # The end may have arrived together with a body or trailers before it.
        cdef bint ended = self.flow.ended and queue_len(&self.flow.input) == 0 and (trailers is None or trailers.n_headers == 0)
        cdef int64_t left_ms
        cdef int status
        self.begun = True
        self.take()
        status = complete_request(&self.fields, exchange.request, ended, &connection.entry_point.policy)
        exchange.request.head.major_version = connection.version
        if status == FIELDS_MALFORMED:
            connection.entry_point.stats.errors[<int>ERROR_BAD_REQUEST] += 1
            self.exchange = None
            exchange_give(exchange)
            return connection.flows.reset(&self.flow, RESET_MALFORMED)
        if not self.fields.prioritised:
            connection.flows.make_incremental(&self.flow)
        connection.requests += 1
        if connection.reached_keep_alive_limit():
            connection.begin_shutdown()
        if status:
            return self.refuse(status, ERROR_BAD_REQUEST)
        if connection.encrypted and not connection.handshake_holds():
            connection.begin_shutdown()        # the next connection begins with another handshake
            return self.refuse(421, ERROR_BAD_REQUEST)
        if exchange.request.framing.body == BODY_NONE:
            self.request_ended = True
            self.limit_answer()
        else:
            left_ms = self.begin_body(exchange.request.framing.expects_continue)
            if left_ms != INT64_MAX:
                connection.flows.check_by(self.began_ms + left_ms)
        return exchange.begin()

    cdef int take(self) except -1:
        """Describe the client to the exchange: its address, trust, and TLS."""
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
        """Release the stream, because the library has closed it or the connection ends; an exchange under way ends."""
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
            connection.flows.credit += RESET_COST
        else:
            connection.flows.charge(RESET_COST)
        connection.flows.release(&self.flow)
        connection.flows.unlink(&self.flow)
        if connection.flows.open_flows == 0:
            connection.idle_ms = connection.flows.reactor.now_ms
            if connection.is_open and connection.entry_point.limits.idle_timeout_ms:
                connection.flows.check_by(connection.idle_ms + connection.entry_point.limits.idle_timeout_ms)
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
        _log.error("internal error in a stream", exc_info=error)
        if exchange is None or self.connection is None:
            return 0
        self.connection.flows.reset(&self.flow, RESET_INTERNAL)
        self.exchange = None
        exchange.error = ERROR_INTERNAL
        try:
            exchange.lose_server()
            exchange.count()
        finally:
            exchange_give(exchange)
        return 0

    # Time

    cdef int64_t now_ms(self) noexcept:
        return self.connection.flows.reactor.now_ms

    cdef int limit_answer(self) except -1:
        """Limit the time until the answer is sent, because the request is complete."""
        cdef int64_t limit_ms = self.connection.entry_point.limits.write_timeout_ms
        self.answer_until_ms = 0
        if limit_ms:
            self.answer_until_ms = self.connection.flows.reactor.now_ms + limit_ms
            return self.connection.flows.check_by(self.answer_until_ms)
        return 0

    cdef int check(self, int64_t now_ms) except -1:
        """End the exchange if it has reached its time limit; else set the timer."""
        cdef int64_t left_ms
        if not self.request_ended and self.begun:
            left_ms = self.patience_ms()
            if left_ms <= 0:
                return self.exchange.client_stalled(408)
            return 0 if left_ms == INT64_MAX else self.connection.flows.check_by(now_ms + left_ms)
        if self.answer_until_ms:
            if now_ms >= self.answer_until_ms:
                self.answer_until_ms = 0
                self.exchange.client_stalled(504)
                return 0 if self.connection is None else self.connection.answer_is_overdue()
            return self.connection.flows.check_by(self.answer_until_ms)
        return 0

    cdef int check_taken(self, int64_t now_ms) except -1:
        """End the stream if its answer, which is complete and whose exchange has ended, was not taken in time; else set the timer."""
        if now_ms < self.answer_until_ms:
            return self.connection.flows.check_by(self.answer_until_ms)
        self.answer_until_ms = 0
        self.connection.flows.reset(&self.flow, RESET_INTERNAL)
        return self.connection.answer_is_overdue()

    # The request's body

    cdef bint has_body(self) noexcept:
        return not self.request_ended

    cdef int put_continue(self) except -1:
        if queue_len(&self.flow.input) == 0 and not self.flow.ended:
            return self.connection.flows.submit_interim(&self.flow, 100)
        return 0

    cdef int read_body(self, Sink sink) except -1:
        cdef FlowSession session = self.connection.flows
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
        cdef FlowSession session
        if self.connection is None:
            return 0
        session = self.connection.flows
        if self.exchange.stream is None and response.status != 200 and is_grpc(self.exchange.request):
            # lbcore's own answer.
            self.drops_body = True
            if list_grpc_status(response.status, session.list) < 0:
                raise MemoryError
            return session.submit_response(&self.flow, False)
        if response.status == 101:
            response.drop(b"sec-websocket-accept", 20)     # answers a key that the client has not sent
        if self.connection.entry_point.alt_svc is not None and self.connection.encrypted and self.connection.version < 3:
            self.connection.entry_point.tell_of_http3(response)
        if list_response(response, http_date(), session.list) < 0:
            raise MemoryError
        return session.submit_response(&self.flow, response.framing.body != BODY_NONE or response.status == 101)

    cdef int put_interim(self, Response response) except -1:
        cdef FlowSession session
        if self.connection is None:
            return 0
        session = self.connection.flows
        if list_response(response, span_of(NULL, 0), session.list) < 0:
            raise MemoryError
        return session.submit_interim(&self.flow, 0)

    cdef int put(self, Span data) except -1:
        if self.connection is None or data.len == 0 or self.drops_body:
            return 0
        self.connection.flows.put(&self.flow, data)
        self.blocked = self.flow.full
        self.exchange.response_bytes += data.len
        return 0

    cdef int end(self, Message trailers) except -1:
        return 0 if self.connection is None else self.connection.flows.put_end(&self.flow, trailers)

    cdef int flush(self) except -1:
        if self.connection is not None and self.connection.is_open:
            return self.connection.flows.reactor.touch(self.connection.flows)
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
            self.connection.flows.discard(&self.flow)
            self.connection.flows.end_both(&self.flow)
        return 0

    cdef object own_pool(self, Server server, bint make):
        return None if self.connection is None else self.connection.pool_of(server, make)

    cdef int abort(self) except -1:
        """Reset the stream, so that the client does not take half an answer for a whole one."""
        cdef Exchange exchange = self.exchange
        self.exchange = None
        exchange_give(exchange)
        if self.connection is None:
            return 0
        self.connection.flows.discard(&self.flow)
        return self.connection.flows.reset(&self.flow, RESET_INTERNAL)


cdef FlowStream stream_take(FlowConnection connection, int64_t stream_id):
    """A new stream of a connection, with an exchange. Usually O(1) without a heap call."""
    cdef FlowStream stream = <FlowStream>freelist_take(&kept)
    if stream is None:
        stream = FlowStream.__new__(FlowStream)
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
    connection.flows.link(&stream.flow)
    return stream


cdef void stream_give(FlowStream stream) noexcept:
    """Keep a closed stream for reuse, unless there are enough."""
    freelist_give(&kept, stream)
