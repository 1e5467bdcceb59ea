"""HTTP/1.1 towards a client: read a request, send the answer, go on to the next. The request's body: `http1_upload`."""

import logging

cimport cython
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset

from lbcore.http.buffer cimport Buffer, buffer_acquire, buffer_len, buffer_park, buffer_release, buffer_reserve, buffer_room
from lbcore.http.framing cimport BODY_CHUNKED, BODY_LENGTH, BODY_NONE, BODY_UNTIL_CLOSE
from lbcore.http.message cimport HEAD_PARTIAL, Message
from lbcore.http.render cimport put_chunk_size, render_response, render_trailers
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_of
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer, Exchange, ServerStream, exchange_give, exchange_take
from lbcore.state.layout cimport ERROR_BAD_REQUEST, ERROR_CLIENT_TIMEOUT
from lbcore.transport.clock cimport http_date
from lbcore.transport.connection cimport Connection, Learned
from lbcore.transport.epoll cimport EPOLLIN, EPOLLOUT
from lbcore.transport.http1_server cimport Http1Server
from lbcore.transport.http1_upload cimport Http1Upload
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, OwnedSocket, Socket
from lbcore.transport.tunnel cimport Tunnel

cdef enum:
    CORKED_BYTES = 65536       # answers to pipelined requests that may wait for each other before they are sent
    LINGER_MS = 1000
    LINGER_BYTES = 262144      # as much of an unwanted body is read past

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class Http1Connection(Connection):
    """What the worker and the socket see of an `Http1Client`."""

    cdef int socket_ready(self, OwnedSocket socket, uint32_t events) except -1:
        return self.http.on_ready(events)

    cdef int socket_timeout(self, OwnedSocket socket) except -1:
        return self.http.on_timeout()

    cdef void socket_failed(self, OwnedSocket socket, object error) noexcept:
        _log.error("internal error on a connection of entry point %s", self.entry_point.name, exc_info=error)
        try:
            self.http.drop()
        except Exception as again:
            _log.error("internal error while ending an exchange", exc_info=again)

    cdef int drain(self) except -1:
        return self.http.drain()

    cdef int drop(self) except -1:
        return self.http.drop()

    cdef int64_t idle_since_ms(self) noexcept:
        cdef Http1Client http = self.http
        return http.idle_ms if http.state == CLIENT_IDLE and not http.serving and buffer_len(&http.socket.input) == 0 else -1


cdef int serve_http1(OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer,
                     set connections) except -1:
    """Start a connection of HTTP/1 on a socket in the reactor. What it has received already are the first bytes of a request."""
    cdef Http1Client http = Http1Client.__new__(Http1Client)
    cdef Http1Connection connection = Http1Connection.__new__(Http1Connection)
    connection.entry_point = entry_point
    connection.connections = connections
    connection.http = http
    http.connection = connection
    http.address = learned.client
    http.encrypted = learned.encrypted
    http.entry_point = entry_point
    http.dialer = dialer
    http.socket = socket
    socket.owner = connection
    entry_point.stats.bytes_in += buffer_len(&socket.input)
    connection.enter()
    try:
        http.open()
        # Its first bytes are usually here already.
        http.on_ready(EPOLLIN)
    except Exception as error:
        connection.socket_failed(socket, error)
    return 0


@cython.final
cdef class Http1Client(Http1Upload):
    """One connection. `serve_http1` makes it and calls `open`."""

    cdef int open(self) except -1:
        """Start; the socket is attached and `address` is set."""
        self.splice_fd = -1
        self.trusted = self.entry_point.trusted.hold(&self.address)
        self.opened_ms = self.socket.reactor.now_ms
        return self.watch()

    # Events

    cdef int on_ready(self, uint32_t events) except -1:
        cdef Socket socket = self.socket
        cdef int result
        events = socket.note(events)
        if self.state == CLIENT_IDLE:
            return self.serve()
        if self.state == CLIENT_TUNNEL:
            return self.carry()
        if self.state == CLIENT_LINGERING:
            return self.read_past()
        if events & EPOLLOUT and self.blocked and not self.broken:
            result = socket.push()
            if result == IO_FAILED:
                self.write_failed()
            elif result == 0:
                self.blocked = False
                if self.state == CLIENT_FLUSHING:
                    return self.go_on()
                self.exchange.client_drained()
        if self.state == CLIENT_BUSY:
            if socket.readable and self.body_kind != BODY_NONE:
                return self.want_body()
            return self.drop_if_gone()
        if self.state == CLIENT_FLUSHING and socket.hangup and (self.broken or socket.peer_has_ended()):
            return self.close()
        return 0

    cdef int on_timeout(self) except -1:
        if self.broken:
            return self.drop()
        if self.state == CLIENT_IDLE:
            if buffer_len(&self.socket.input) == 0:
                return self.close()
            # Half a head: say so, as Traefik does.
            self.take(exchange_take(self.entry_point, self, self.dialer))
            self.exchange.request.set_client(&self.address)
            return self.refuse(400, ERROR_CLIENT_TIMEOUT)
        if self.state == CLIENT_BUSY:
            if self.body_kind != BODY_NONE or self.entry_point.limits.write_timeout_ms:
                self.keep_alive = False
                return self.exchange.client_stalled()
            return 0
        if self.state == CLIENT_TUNNEL or (self.state == CLIENT_FLUSHING and self.entry_point.limits.write_timeout_ms == 0):
            return 0
        return self.close()

    cdef int drain(self) except -1:
        """No further request: close now if nothing is under way, else after the answer."""
        self.keep_alive = False
        return self.close() if self.state == CLIENT_IDLE and buffer_len(&self.socket.input) == 0 else 0

    cdef int drop_if_gone(self) except -1:
        """Break off when the client has ended its side, with nothing more of it to read: it waits for no answer."""
        if self.state == CLIENT_BUSY and self.socket.hangup and (self.body_kind == BODY_NONE or self.broken) \
                and self.socket.peer_has_ended():
            return self.drop()
        return 0

    cdef int drop(self) except -1:
        """The client is lost: break off whatever is under way."""
        if self.exchange is not None:
            self.exchange.client_gone()
        return self.close()

    # The request

    cdef int serve(self) except -1:
        """Read requests and begin their exchanges until one takes its time or nothing more is there."""
        cdef Socket socket = self.socket
        cdef Py_ssize_t n
        if self.serving:
            return 0
        self.serving = True
        try:
            while self.state == CLIENT_IDLE:
                if self.seen == 0:
                    self.skip_empty_lines()
                if buffer_len(&socket.input) > self.seen:
                    self.read_head()
                    if buffer_len(&socket.output) > CORKED_BYTES:
                        self.flush()
                        if self.blocked and self.state == CLIENT_IDLE:
                            self.state = CLIENT_FLUSHING
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
                if n <= 0:
                    return self.close()
                self.entry_point.stats.bytes_in += n
        finally:
            self.serving = False
        return self.rest()

    cdef void skip_empty_lines(self) noexcept:
        """Pass over empty lines in front of a request (RFC 9112 section 2.2): some clients end a body with one."""
        cdef Buffer* input = &self.socket.input
        while buffer_len(input) >= 2 and input.base[input.start] == c"\r" and input.base[input.start + 1] == c"\n":
            input.start += 2

    cdef int read_head(self) except -1:
        """Parse what was received; begin an exchange if a head is complete."""
        cdef Socket socket = self.socket
        cdef Exchange exchange = exchange_take(self.entry_point, self, self.dialer)
        cdef Py_ssize_t length = buffer_len(&socket.input)
        cdef Py_ssize_t used
        exchange.request.set_client(&self.address)
        used = exchange.request.parse(socket.input.base + socket.input.start, length, self.seen, &self.entry_point.policy)
        if used == HEAD_PARTIAL:
            exchange_give(exchange)
            if self.seen == 0 and self.entry_point.limits.read_timeout_ms:
                socket.reactor.arm(socket, self.entry_point.limits.read_timeout_ms)
            elif self.seen == 0:
                socket.reactor.disarm(socket)
            self.seen = length
            return 0
        self.take(exchange)
        return self.begin(used) if used > 0 else self.refuse(<int>-used, ERROR_BAD_REQUEST)

    cdef void take(self, Exchange exchange) noexcept:
        """Be busy with an exchange."""
        self.seen = 0
        self.exchange = exchange
        self.state = CLIENT_BUSY
        self.requests += 1
        self.chunking = self.continue_sent = self.in_trailers = False
        self.body_kind = BODY_NONE
        exchange.forward = self.entry_point.forward
        exchange.forward.trusted = self.trusted
        exchange.forward.encrypted = exchange.request.head.encrypted = self.encrypted

    cdef int refuse(self, int status, int error) except -1:
        """What follows cannot be told apart from the next request: nothing more is read."""
        self.keep_alive = False
        return self.exchange.refuse(status, error)

    cdef int begin(self, Py_ssize_t used) except -1:
        cdef Socket socket = self.socket
        cdef Exchange exchange = self.exchange
        cdef Request request = exchange.request
        socket.input.start += used     # the exchange owns the bytes of its head
        self.body_kind = request.framing.body
        self.body_left = request.framing.length
        self.keep_alive = request.framing.keep_alive and not self.entry_point.draining and not self.is_worn_out()
        if self.body_kind != BODY_NONE:
            memset(&self.decoder, 0, sizeof(self.decoder))
            if not request.framing.expects_continue or request.head.minor_version == 0:
                self.continue_sent = True
            if self.entry_point.limits.read_timeout_ms:
                socket.reactor.arm(socket, self.entry_point.limits.read_timeout_ms)
        elif self.entry_point.limits.write_timeout_ms:
            socket.reactor.arm(socket, self.entry_point.limits.write_timeout_ms)
        return exchange.begin()

    cdef int rest(self) except -1:
        """Nothing more to do for now: send what waits, hold as little memory as can be."""
        cdef Socket socket = self.socket
        if self.state == CLIENT_CLOSED:
            return 0
        if buffer_len(&socket.output):
            self.flush()
        if self.state != CLIENT_IDLE:
            if buffer_len(&socket.input) == 0:
                buffer_release(&socket.input)
            return self.drop_if_gone()
        if self.blocked:
            self.state = CLIENT_FLUSHING
            return 0
        if buffer_len(&socket.input) == 0:
            buffer_release(&socket.input)
        else:
            buffer_park(&socket.input)
        return 0

    cdef int watch(self) except -1:
        """Between requests: limit the time until the next one. A new connection is given as long as a request may take."""
        cdef int64_t limit_ms = self.entry_point.limits.idle_timeout_ms if self.requests else \
            self.entry_point.limits.read_timeout_ms
        self.idle_ms = self.socket.reactor.now_ms
        if limit_ms:
            return self.socket.reactor.arm(self.socket, limit_ms)
        self.socket.reactor.disarm(self.socket)
        return 0

    # The answer

    cdef int put_head(self, Response response) except -1:
        cdef int minor_version = self.exchange.request.head.minor_version
        cdef int body = response.framing.body
        if self.body_kind != BODY_NONE:
            # Whether the client will send the rest of its body is not known: the connection ends with this answer.
            self.skip_body()
        if body == BODY_CHUNKED or body == BODY_UNTIL_CLOSE:
            self.chunking = minor_version >= 1
            self.keep_alive = self.keep_alive and self.chunking
        if response.status == 101:
            self.chunking = False
        self.splice_fd = self.socket.splice_fd() if body == BODY_LENGTH else -1
        if render_response(response, minor_version, self.keep_alive, self.chunking, http_date(), &self.socket.output) < 0:
            raise MemoryError
        return 0

    cdef int put_interim(self, Response response) except -1:
        if self.exchange.request.head.minor_version == 0:
            return 0
        if render_response(response, 1, True, False, span_of(NULL, 0), &self.socket.output) < 0:
            raise MemoryError
        return 0

    cdef int put_body(self, Span data) except -1:
        cdef char line[18]
        cdef int result
        if self.broken:
            return 0
        if self.chunking:
            self.socket.put_text(line, put_chunk_size(line, data.len) - line)
        result = self.socket.put(data)
        if self.chunking and result != IO_FAILED:
            self.socket.put_text(b"\r\n", 2)
        if result == IO_AGAIN:
            self.blocked = True
        elif result == IO_FAILED:
            self.write_failed()
        self.exchange.response_bytes += data.len
        self.entry_point.stats.bytes_out += data.len
        return 0

    cdef int put_end(self, Message trailers) except -1:
        if not self.chunking or self.broken:
            return 0
        if trailers is None:
            self.socket.put_text(b"0\r\n\r\n", 5)
        elif render_trailers(trailers, &self.socket.output) < 0:
            raise MemoryError
        return 0

    cdef int flush(self) except -1:
        cdef int result = 0 if self.broken or self.state == CLIENT_CLOSED else self.socket.push()
        if result == IO_AGAIN:
            self.blocked = True
        elif result == IO_FAILED:
            self.write_failed()
        return 0

    cdef void write_failed(self) noexcept:
        """The client is gone. Whoever is writing stops; the exchange is told on the next tick, not from within its call."""
        self.broken = True
        self.blocked = True
        buffer_release(&self.socket.output)
        self.socket.reactor.arm(self.socket, 0)

    cdef void wait_for_output(self) noexcept:
        self.blocked = True
        if self.socket.wait_for_output() == IO_FAILED:
            self.write_failed()

    cdef int finish(self) except -1:
        cdef Socket socket = self.socket
        self.splice_fd = -1
        self.release_exchange()
        if self.broken:
            return self.close()
        if self.serving:
            if self.keep_alive:
                self.state = CLIENT_IDLE
                return self.watch()
        if not self.blocked:
            self.flush()
        if self.blocked:
            self.state = CLIENT_FLUSHING
            return self.close() if self.broken else 0
        return self.go_on()

    cdef int go_on(self) except -1:
        """The answer is out: the next request, or the end."""
        if not self.keep_alive:
            return self.linger()
        self.state = CLIENT_IDLE
        self.watch()
        if self.serving:
            return 0
        if self.socket.readable or buffer_len(&self.socket.input) or self.socket.hangup:
            try:
                return self.serve()
            except Exception as error:
                self.socket.fail(error)    # whoever has ended the answer, a server's connection, is none of this request
                return 0
        return self.rest()

    cdef void release_exchange(self) noexcept:
        """The exchange is over, and what it owns is given back."""
        cdef Exchange exchange = self.exchange
        self.exchange = None
        self.drop_pipe()
        self.seen = 0
        exchange_give(exchange)

    cdef int abort(self) except -1:
        """A client must not take half an answer for a whole one: the connection closes without the end of the body."""
        if not self.broken:
            self.socket.push()
        self.release_exchange()
        return self.close()

    cdef int tunnel(self, ServerStream server) except -1:
        if self.carrier is None:
            self.flush()
            self.state = CLIENT_TUNNEL
            self.carrier = Tunnel(self.socket, (<Http1Server>server).socket)
            self.socket.reactor.disarm(self.socket)
        return self.carry()

    cdef int carry(self) except -1:
        cdef ServerStream server = self.exchange.stream
        if self.carrier.pump():
            self.exchange.tunnel_ended()
            server.exchange = None
            server.close()
            self.close()
        return 0

    # The end

    cdef int linger(self) except -1:
        """Close so that the client gets the answer: closing at once would reset the connection if it is still sending."""
        if self.body_kind == BODY_NONE and buffer_len(&self.socket.input) == 0 and not self.socket.readable:
            return self.close()
        self.state = CLIENT_LINGERING
        buffer_release(&self.socket.input)
        self.socket.shut_write()
        self.socket.reactor.arm(self.socket, LINGER_MS)
        return self.read_past()

    cdef int read_past(self) except -1:
        cdef Py_ssize_t n
        while self.socket.readable and self.lingered < LINGER_BYTES:
            n = self.socket.discard()
            if n == IO_AGAIN:
                return 0
            if n <= 0:
                return self.close()
            self.lingered += n
        return self.close() if self.lingered >= LINGER_BYTES else 0

    cdef int close(self) except -1:
        """Close the connection. An exchange under way has been told before. Safe to call twice."""
        if self.state == CLIENT_CLOSED:
            return 0
        self.state = CLIENT_CLOSED
        self.connection.leave()
        self.connection = None
        if self.exchange is not None:
            exchange_give(self.exchange)
            self.exchange = None
        self.drop_pipe()
        self.socket.shut()
        self.carrier = None
        return 0
