"""HTTP/1.1 towards a server, over an established connection: send a request, read its answer, go back to the pool (RFC 9112)."""

import logging

cimport cython
from libc.errno cimport ECONNRESET, EPIPE
from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbcore.http.binding cimport binds
from lbcore.http.buffer cimport CHUNK_BYTES, Buffer, buffer_len, buffer_release, buffer_reserve, buffer_room
from lbcore.http.framing cimport BODY_CHUNKED, BODY_LENGTH, BODY_NONE, upgrade_agreed
from lbcore.http.message cimport HEAD_PARTIAL, Message
from lbcore.http.render cimport render_request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span
from lbcore.proxy.exchange cimport INTERIM_CONTINUE, INTERIM_TOO_MANY, Exchange, ServerStream
from lbcore.http.sink cimport Sink
from lbcore.state.layout cimport ERROR_EOF, ERROR_GARBAGE, ERROR_INTERNAL, ERROR_RESET, ERROR_TIMEOUT
from lbcore.transport.server_connection cimport ServerConnection
from lbcore.transport.epoll cimport EPOLLIN, EPOLLOUT
from lbcore.transport.http1_body cimport (
    BODY_BAD, BODY_COMPLETE, BODY_ENDED, BODY_REFUSED, BODY_RESET, BODY_WAITS, body_begin, body_end, body_forget, body_put,
    body_read, note_output,
)
from lbcore.routing.server cimport Server
from lbcore.transport.pool cimport Pool
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, OwnedSocket

cdef enum:
    CONTINUE_MS = 1000         # time for the server to send 100 Continue, after which the body is sent anyway (RFC 9110 section 10.1.1)
    PROBE_S = 30               # interval of the kernel's keep-alive probes to a silent server
    DRAINED_BYTES = 65536      # most bytes of an unwanted answer that are read past, so that its connection can be used again
    OWN_CONNECTIONS = 8        # most idle connections to a server that are one client's alone
    DRAIN_MS = 1000            # time for them

# The legal transitions: for each state, the set of the states that may follow, as bits.
cdef int[3] MOVES = [
    1 << SERVER_BUSY | 1 << SERVER_CLOSED,      # from SERVER_IDLE
    1 << SERVER_IDLE | 1 << SERVER_CLOSED,      # from SERVER_BUSY
    0,                                          # from SERVER_CLOSED
]

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class Http1ServerConnection(ServerConnection):
    """A connection of HTTP/1. `http1_to` makes it."""

    def __cinit__(self):
        self.stream = Http1ServerStream.__new__(Http1ServerStream)
        self.stream.connection = self

    cdef int move(self, int state) except -1:
        """Change the state. Raises RuntimeError for an illegal transition."""
        if not MOVES[self.state] >> state & 1:
            raise RuntimeError(f"a server's connection went from state {self.state} to {state}")
        self.state = state
        return 0

    cdef int go_on(self) except -1:
        return self.stream.read() if self.state == SERVER_BUSY and self.socket.readable else 0

    # Events

    cdef int socket_ready(self, OwnedSocket socket, uint32_t events) except -1:
        cdef Exchange exchange = self.stream.exchange
        cdef uint64_t serial
        events = socket.note(events)
        if self.state == SERVER_BUSY:
            serial = 0 if exchange is None else exchange.serial
            try:
                return self.stream.on_ready(events)
            except Exception as error:
                if exchange is None or self.stream.exchange is not None:
                    raise
                # The exchange has left this connection before, and hears of it from nobody else.
                self.failed(ERROR_INTERNAL)
                return exchange.internal_error(error, serial)
        if self.state == SERVER_IDLE:
            # No answer is due, so this is the end of the connection, or bytes that answer no request.
            if socket.hangup or (events & EPOLLIN and socket.discard() != IO_AGAIN):
                self.close()
            return 0
        return 0

    cdef int socket_timeout(self, OwnedSocket socket) except -1:
        if self.state == SERVER_IDLE:
            return self.close()
        if self.state == SERVER_BUSY:
            return self.stream.on_timeout()
        return 0

    cdef void socket_failed(self, OwnedSocket socket, object error) noexcept:
        _log.error("internal error on a connection to %s", self.server, exc_info=error)
        try:
            self.failed(ERROR_INTERNAL)
        except Exception as again:
            _log.error("internal error while ending an exchange", exc_info=again)

    cdef void socket_released(self, OwnedSocket socket) noexcept:
        if self.state == SERVER_CLOSED:
            self.stream.connection = None

    cdef int failed(self, int error) except -1:
        """Close, and report the error to the exchange, if there is one."""
        cdef Exchange exchange = self.stream.exchange
        cdef bint heard = self.stream.was_heard()
        cdef uint64_t serial
        self.stream.exchange = None
        self.close()
        if exchange is None:
            return 0
        serial = exchange.serial
        exchange.heed(self.stream)
        try:
            exchange.server_failed(error, heard)
        except Exception as problem:
            exchange.internal_error(problem, serial)
        return 0

    # Streams

    cdef ServerStream open_stream(self):
        if self.state == SERVER_IDLE:
            self.move(SERVER_BUSY)
        self.available = 0
        return self.stream

    cdef int stream_done(self, bint reusable) except -1:
        """End the present exchange; the connection goes back to the pool if it is reusable, else it closes."""
        cdef OwnedSocket socket = self.socket
        if not reusable or socket.hangup or buffer_len(&socket.input) or buffer_len(&socket.output) \
                or (socket.readable and socket.discard() != IO_AGAIN):
            return self.close()
        buffer_release(&socket.input)
        self.move(SERVER_IDLE)
        self.available = 1
        self.reused = True
        if self.policy.idle_timeout_ms:
            socket.reactor.arm(socket, self.policy.idle_timeout_ms)
        else:
            socket.reactor.disarm(socket)
        if self.home is not None and not (<Pool>self.server.pool).closed:
            return self.home.give(self, min(self.policy.max_idle, <Py_ssize_t>OWN_CONNECTIONS))
        return (<Pool>self.server.pool).give(self, self.policy.max_idle)

    cdef bint bind(self, Exchange exchange) except *:
        """Keep this connection for the client of the exchange, for whom it is authenticated. False: there is no client to keep it."""
        self.server.binds = True
        if self.home is None:
            self.home = exchange.client.own_pool(self.server, True)
        return self.home is not None

    cdef int close(self) except -1:
        if self.state == SERVER_CLOSED:
            return 0
        self.move(SERVER_CLOSED)
        self.available = 0
        self.stream.drain = None
        if self.pool is not None:
            (<Pool>self.pool).remove(self)
        body_forget(&self.stream.body)
        if self.socket is not None:
            self.socket.shut()
        return 0


@cython.final
cdef class Drain(Sink):
    """Drops so many bytes, and refuses those behind."""

    def __cinit__(self):
        self.left = DRAINED_BYTES
        self.trailers = Message()
        self.trailers.repairs = True

    cdef int put(self, Span data) except -1:
        self.left -= data.len
        return 413 if self.left < 0 else 0


@cython.final
cdef class Http1ServerStream(ServerStream):
    """The stream of a connection: carries its present exchange."""

    cdef bint was_reused(self) noexcept:
        return self.connection.reused

    cdef bint was_heard(self) noexcept:
        """Whether any byte of an answer has arrived."""
        return self.in_body or self.interims > 0 or self.seen > 0 or buffer_len(&self.socket.input) > 0

    # The request

    cdef int start(self, Exchange exchange) except -1:
        cdef OwnedSocket socket = self.socket
        cdef int body = exchange.request.framing.body
        self.exchange = exchange
        self.connection.policy = exchange.attempt.balancer.policy      # a connection may be older than the policy in force
        self.in_body = False
        self.seen = 0
        self.interims = 0
        self.bound = binds(exchange.request, b"authorization", 13)
        exchange.forward.server_authority = self.server.authority
        if render_request(exchange.request, &exchange.forward, self.server.prefix, &socket.output) < 0:
            raise MemoryError
        exchange.response.clear()
        self.chunking = body == BODY_CHUNKED
        self.splice_fd = socket.splice_fd() if body == BODY_LENGTH else -1
        self.large_pieces = not socket.can_splice()
        self.sent = body == BODY_NONE
        self.waiting_continue = exchange.request.framing.expects_continue and not self.sent
        self.blocked = self.waiting_continue
        if self.waiting_continue:
            socket.reactor.arm(socket, CONTINUE_MS)
        elif self.sent and self.connection.policy.response_header_timeout_ms:
            socket.reactor.arm(socket, self.connection.policy.response_header_timeout_ms)
        return self.flush()

    cdef int put(self, Span data) except -1:
        note_output(self, body_put(self.socket, self.chunking, data))
        self.server.stats.bytes_out += data.len
        return 0

    cdef int end(self, Message trailers) except -1:
        note_output(self, body_end(self.socket, self.chunking, trailers))
        self.sent = True
        if self.connection.policy.response_header_timeout_ms and not self.in_body:
            self.socket.reactor.arm(self.socket, self.connection.policy.response_header_timeout_ms)
        return 0

    cdef int flush(self) except -1:
        return note_output(self, self.socket.push())

    cdef void spliced(self, int64_t count) noexcept:
        self.server.stats.bytes_out += count

    cdef void wait_for_output(self) noexcept:
        self.blocked = True
        if self.socket.wait_for_output() == IO_FAILED:
            self.write_failed()

    cdef void write_failed(self) noexcept:
        """Note that the server takes no more of the request. It may have answered nevertheless: the next event reads that, or the
        end of the connection."""
        self.blocked = True
        buffer_release(&self.socket.output)
        self.socket.readable = True
        self.socket.hangup = True

    # Events

    cdef int on_ready(self, uint32_t events) except -1:
        cdef OwnedSocket socket = self.socket
        if self.exchange is not None:
            self.exchange.heed(self)
        if events & EPOLLOUT and self.blocked and not self.waiting_continue and not socket.hangup:
            if socket.push() == 0:
                self.blocked = False
                if not self.sent:
                    self.exchange.server_ready()
        if self.exchange is not None:
            return self.read() if socket.readable else 0
        return self.read_past() if self.drain is not None else 0

    cdef int on_timeout(self) except -1:
        if self.drain is not None:
            return self.connection.close()
        if self.in_body:
            return 0
        if self.waiting_continue:
            return self.go_on()
        if self.sent and self.connection.policy.response_header_timeout_ms:
            return self.connection.failed(ERROR_TIMEOUT)
        return 0

    cdef int go_on(self) except -1:
        """Start the body, because the server has sent 100 Continue, or nothing for CONTINUE_MS."""
        self.exchange.heed(self)
        self.waiting_continue = False
        self.blocked = False
        self.flush()
        return 0 if self.blocked else self.exchange.server_ready()

    # The answer

    cdef int resume(self) except -1:
        if self.body.pipe != NULL or buffer_len(&self.socket.input) or self.socket.readable:
            return self.read()
        return self.exchange.answer_sink.flush() if self.in_body else 0     # nothing follows what was put last

    cdef int read(self) except -1:
        """Read the answer as far as it has arrived and the client takes it. The caller must not touch the exchange afterwards: it may
        have ended, and the next one may have begun on this stream."""
        cdef OwnedSocket socket = self.socket
        cdef Py_ssize_t n
        while not self.in_body:
            if buffer_len(&socket.input) > self.seen:
                if self.read_head():
                    return 0
                continue
            if not socket.readable:
                break
            if buffer_reserve(&socket.input, CHUNK_BYTES if self.seen == 0 else CHUNK_BYTES // 2) < 0:
                raise MemoryError
            n = socket.receive(&socket.input, buffer_room(&socket.input))
            if n == IO_AGAIN:
                break
            if n <= 0:
                return self.ended()
        if self.in_body:
            return self.read_body()
        if buffer_len(&socket.input) == 0:
            buffer_release(&socket.input)
        return 0

    cdef int read_head(self) except -1:
        """Continue to read a head. Returns 0; or 1 if the stream must not read on, because the exchange has ended or waits."""
        cdef Buffer* input = &self.socket.input
        cdef Exchange exchange = self.exchange
        cdef Response response = exchange.response
        cdef Py_ssize_t used = response.parse(input.base + input.start, buffer_len(input), self.seen, exchange.request.is_head)
        if used == HEAD_PARTIAL:
            self.seen = buffer_len(input)
            return 0
        if used < 0:
            self.connection.failed(ERROR_GARBAGE)
            return 1
        self.seen = 0
        input.start += used
        if response.status < 200:
            return self.interim()
        self.in_body = True
        self.waiting_continue = False
        self.keep_alive = response.framing.keep_alive
        if (response.status == 401 or self.server.binds) and binds(response, b"www-authenticate", 16):
            self.bound = True
        if self.bound and not self.connection.bind(exchange):
            self.keep_alive = False
        body_begin(&self.body, &response.framing)
        if exchange.response_head():
            return 1
        if self.body.kind == BODY_NONE:
            self.complete()
            return 1
        return 0

    cdef int interim(self) except -1:
        """Process a 1xx answer, after which the final answer follows. Returns as `read_head`."""
        cdef Exchange exchange = self.exchange
        cdef Response response = exchange.response
        cdef int result
        if response.status == 101:
            # Allowed only to a protocol that the client asked for, and only after all of the request was sent.
            if not self.sent or not exchange.request.framing.upgrade or not response.framing.upgrade or not upgrade_agreed(
                    exchange.request.headers, exchange.request.kinds, exchange.request.n_headers,
                    response.headers, response.kinds, response.n_headers):
                self.connection.failed(ERROR_GARBAGE)
                return 1
            self.in_body = True                # nothing is read as HTTP any more
            self.keep_alive = False
            exchange.switch_protocols()
            return 1
        result = self.take_interim()
        if result == INTERIM_TOO_MANY:
            self.connection.failed(ERROR_GARBAGE)
        elif result == INTERIM_CONTINUE and self.waiting_continue:
            self.go_on()
        return self.exchange is None

    cdef int read_body(self) except -1:
        cdef Exchange exchange = self.exchange
        cdef Sink sink = exchange.answer_sink
        cdef uint64_t before = self.body.forwarded
        cdef int event = body_read(&self.body, self.socket, sink, exchange.response.trailer_section())
        self.server.stats.bytes_in += self.body.forwarded - before
        if event == BODY_WAITS:
            return sink.flush()
        if event == BODY_COMPLETE:
            return self.complete()
        if event == BODY_BAD:
            return self.connection.failed(ERROR_GARBAGE)
        if event == BODY_ENDED or event == BODY_RESET:
            return self.ended()
        if event == BODY_REFUSED:
            return exchange.answer_refused(self.body.refusal)
        return 0               # BODY_BLOCKED: `resume` goes on

    cdef int ended(self) except -1:
        """The server has ended the connection, or broken it, before the answer was complete."""
        cdef int fault = self.socket.fault
        return self.connection.failed(ERROR_RESET if fault == ECONNRESET or fault == EPIPE else ERROR_EOF)

    cdef int complete(self) except -1:
        """End the answer. The call of the exchange comes last, because the next exchange may begin on this connection within it."""
        cdef Exchange exchange = self.exchange
        cdef Message trailers = exchange.response.trailers
        cdef int status
        if trailers is not None and trailers.n_headers == 0:
            trailers = None
        status = exchange.answer_sink.end(trailers)
        if status:
            return exchange.answer_refused(status)
        self.exchange = None
        self.blocked = False
        body_forget(&self.body)
        self.connection.stream_done(self.keep_alive and self.sent)
        return exchange.response_end()

    # The end

    cdef int discard(self) except -1:
        self.blocked = False
        if not self.keep_alive or not self.sent:
            return self.connection.close()
        self.drain = Drain()
        self.socket.reactor.arm(self.socket, DRAIN_MS)
        return self.read_past()

    cdef int read_past(self) except -1:
        """Read the rest of an answer that no exchange wants, as far as it is here."""
        cdef int event = BODY_COMPLETE
        if self.body.kind != BODY_NONE:
            event = body_read(&self.body, self.socket, self.drain, self.drain.trailers)
        if event == BODY_WAITS:
            return 0
        if event != BODY_COMPLETE:
            return self.connection.close()
        self.drain = None
        body_forget(&self.body)
        return self.connection.stream_done(True)

    cdef object take_socket(self):
        cdef OwnedSocket socket = self.socket
        cdef Http1ServerConnection connection = self.connection
        connection.socket = None
        socket.owner = None
        socket.reactor.disarm(socket)
        connection.close()
        return socket

    cdef int abort(self) except -1:
        return self.connection.close()


cdef Http1ServerConnection http1_to(Server server, OwnedSocket socket):
    """A connection over a socket that is connected to the server, of which it becomes the owner."""
    cdef Http1ServerConnection connection = Http1ServerConnection.__new__(Http1ServerConnection)
    connection.server = connection.stream.server = server
    connection.socket = connection.stream.socket = socket
    connection.available = 1
    socket.owner = connection
    socket.probe_when_idle(PROBE_S)
    return connection
