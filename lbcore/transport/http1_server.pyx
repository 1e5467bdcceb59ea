"""HTTP/1.1 towards a server: send a request, read its answer, be used again."""

import logging

cimport cython
from libc.errno cimport ECONNRESET, EPIPE
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset

from lbcore.http.buffer cimport Buffer, buffer_acquire, buffer_len, buffer_release, buffer_reserve, buffer_room
from lbcore.http.framing cimport (
    BODY_CHUNKED, BODY_LENGTH, BODY_NONE, BODY_UNTIL_CLOSE, CHUNK_BAD, CHUNK_DATA, CHUNK_TRAILERS, chunk_decode,
)
from lbcore.http.message cimport HEAD_PARTIAL, Message
from lbcore.http.render cimport put_chunk_size, render_request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_of
from lbcore.proxy.exchange cimport ClientStream, Exchange
from lbcore.proxy.pool cimport Pool
from lbcore.state.layout cimport ERROR_EOF, ERROR_GARBAGE, ERROR_INTERNAL, ERROR_REFUSED, ERROR_RESET, ERROR_RESOURCE, ERROR_TIMEOUT
from lbcore.transport.connect cimport CONNECTED, NO_ADDRESS_LEFT, NO_RESOURCE, connect_next
from lbcore.transport.epoll cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED
from lbcore.transport.splice cimport (
    CARRIED_ALL, SINK_BROKEN, SINK_FULL, SOURCE_BROKEN, SOURCE_ENDED, SPLICE_FROM, pipe_carry, pipe_give, pipe_take,
)

cdef enum:
    CONTINUE_MS = 1000         # how long a server is given to say 100 Continue before the body is sent anyway
    PROBE_S = 30               # between the kernel's questions whether a silent server is still there
    READ_AHEAD = 32768
    TRAILER_LIMIT_BYTES = 16384
    INTERIM_LIMIT = 64         # 1xx answers to one request; a server that sends more never comes to the point

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class ServerSocket(Socket):
    """The socket of an `Http1Server`."""

    cdef int on_ready(self, uint32_t events) except -1:
        return self.http.on_ready(events)

    cdef int on_timeout(self) except -1:
        return self.http.on_timeout()

    cdef void release(self) noexcept:
        self.http = None

    cdef void fail(self, object error) noexcept:
        _log.error("internal error on a connection to %s", self.http.server, exc_info=error)
        try:
            self.http.failed(ERROR_INTERNAL)
        except Exception as again:
            _log.error("internal error while ending an exchange", exc_info=again)


@cython.final
cdef class Http1Server(ServerStream):
    """One connection. The dialer makes it and calls `begin` when it stands."""

    # The request

    cdef int start(self, Exchange exchange) except -1:
        self.exchange = exchange
        self.state = SERVER_HEAD
        self.seen = 0
        self.interims = 0
        exchange.forward.server_authority = self.server.authority
        if render_request(exchange.request, &exchange.forward, self.server.prefix, &self.socket.output) < 0:
            raise MemoryError
        exchange.response.clear()
        self.chunking = exchange.request.framing.body == BODY_CHUNKED
        self.splice_fd = self.socket.splice_fd() if exchange.request.framing.body == BODY_LENGTH else -1
        self.sent = exchange.request.framing.body == BODY_NONE
        self.waiting_continue = exchange.request.framing.expects_continue and not self.sent
        self.blocked = self.waiting_continue
        if self.waiting_continue:
            self.socket.reactor.arm(self.socket, CONTINUE_MS)
        elif self.sent and self.policy.response_header_timeout_ms:
            self.socket.reactor.arm(self.socket, self.policy.response_header_timeout_ms)
        return self.flush()

    cdef int put_body(self, Span data) except -1:
        cdef char line[18]
        cdef int result
        if self.chunking:
            self.socket.put_text(line, put_chunk_size(line, data.len) - line)
        result = self.socket.put(data)
        if self.chunking and result != IO_FAILED:
            self.socket.put_text(b"\r\n", 2)
        if result == IO_AGAIN:
            self.blocked = True
        elif result == IO_FAILED:
            self.write_failed()
        self.server.stats.bytes_out += data.len
        return 0

    cdef int put_end(self) except -1:
        if self.chunking:
            self.socket.put_text(b"0\r\n\r\n", 5)
        self.sent = True
        if self.policy.response_header_timeout_ms and self.state == SERVER_HEAD:
            self.socket.reactor.arm(self.socket, self.policy.response_header_timeout_ms)
        return 0

    cdef int flush(self) except -1:
        cdef int result = self.socket.push()
        if result == IO_AGAIN:
            self.blocked = True
        elif result == IO_FAILED:
            self.write_failed()
        return 0

    cdef void wait_for_output(self) noexcept:
        self.blocked = True
        if self.socket.wait_for_output() == IO_FAILED:
            self.write_failed()

    cdef void write_failed(self) noexcept:
        """The server takes no more. It may have answered all the same: that, or the end, is read on the next event."""
        self.blocked = True
        buffer_release(&self.socket.output)
        self.socket.readable = True
        self.socket.hangup = True

    # The connection

    cdef void new_socket(self) noexcept:
        self.socket = ServerSocket.__new__(ServerSocket)
        self.socket.http = self

    cdef int connect(self, Reactor reactor, tuple addresses) except -1:
        """Begin a connection to the first of the server's addresses that takes one. `exchange` is told when none does."""
        self.addresses = addresses
        return self.connect_another(reactor)

    cdef int connect_another(self, Reactor reactor) except -1:
        cdef int result = connect_next(reactor, self.socket, self.addresses, &self.tried, self.until_ms)
        if result == NO_ADDRESS_LEFT:
            return self.failed(ERROR_REFUSED)
        if result == NO_RESOURCE:
            return self.failed(ERROR_RESOURCE)
        return self.begin() if result == CONNECTED else 0

    cdef int connect_event(self, uint32_t events) except -1:
        cdef Socket socket = self.socket
        if not events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            return 0
        if socket.connect_error():
            return self.give_up_address()
        return self.begin()

    cdef int give_up_address(self) except -1:
        """The one at work is none: the server's name may have others."""
        cdef Socket socket = self.socket
        socket.shut()
        self.new_socket()
        return self.connect_another(socket.reactor)

    cdef int begin(self) except -1:
        """The connection stands: send the request it was made for."""
        cdef Exchange exchange = self.exchange
        self.connected = True
        self.addresses = None
        self.socket.reactor.disarm(self.socket)
        self.socket.probe_when_idle(PROBE_S)
        self.start(exchange)
        if not self.blocked:
            exchange.server_ready()
        return 0

    # Events

    cdef int on_ready(self, uint32_t events) except -1:
        cdef Socket socket = self.socket
        cdef Exchange exchange
        # Also while connecting: a server may have answered and ended by the time it is seen to stand.
        events = socket.note(events)
        if self.state == SERVER_CONNECTING:
            self.connect_event(events)
            if self.state != SERVER_CONNECTING and socket.readable and self.exchange is not None:
                self.read()
            return 0
        if self.state == SERVER_IDLE:
            # Nothing is owed: the end of the connection, or bytes nobody asked for.
            if socket.hangup or (events & EPOLLIN and socket.discard() != IO_AGAIN):
                self.close()
            return 0
        if self.state == SERVER_TUNNEL:
            return (<ClientStream>self.exchange.client).tunnel(self)
        if events & EPOLLOUT and self.blocked and not self.waiting_continue and not socket.hangup:
            if socket.push() == 0:
                self.blocked = False
                if not self.sent:
                    self.exchange.server_ready()
        if socket.readable and self.exchange is not None:
            self.read()
        return 0

    cdef int on_timeout(self) except -1:
        if self.state == SERVER_IDLE:
            return self.close()
        if self.state == SERVER_CONNECTING:
            # Without addresses, its name is still being resolved: that counts to the time a connection may take.
            if self.addresses is None or self.tried >= len(self.addresses):
                return self.failed(ERROR_TIMEOUT)
            return self.give_up_address()
        if self.state == SERVER_HEAD:
            if self.waiting_continue:
                return self.go_on()
            if self.sent and self.policy.response_header_timeout_ms:
                return self.failed(ERROR_TIMEOUT)
        return 0

    cdef int go_on(self) except -1:
        """The server said 100 Continue, or nothing for long enough: let the body come."""
        self.waiting_continue = False
        self.blocked = False
        if self.flush() == 0 and not self.blocked:
            self.exchange.server_ready()
        return 0

    cdef int failed(self, int error) except -1:
        """Close, and tell the exchange if there is one."""
        cdef Exchange exchange = self.exchange
        cdef bint heard = self.state > SERVER_HEAD or self.seen > 0
        cdef ClientStream client
        self.exchange = None
        self.close()
        if exchange is None:
            return 0
        client = exchange.client
        try:
            exchange.server_failed(error, heard)
        except Exception as problem:
            exchange.give_up(problem, client)
        return 0

    # The answer

    cdef int resume(self) except -1:
        if self.state == SERVER_TUNNEL:
            return 0
        if self.pipe != NULL or buffer_len(&self.socket.input) or self.socket.readable:
            return self.read()
        return 0

    cdef int read(self) except -1:
        """Take what there is, as far as the client takes it."""
        cdef Socket socket = self.socket
        cdef Exchange exchange = self.exchange
        cdef Py_ssize_t n
        while True:
            if buffer_len(&socket.input) > self.seen:
                self.process()
                if self.exchange is not exchange or self.state == SERVER_TUNNEL:
                    return 0
                if self.state == SERVER_BODY and exchange.client.blocked:
                    return 0
                continue
            if self.state == SERVER_BODY:
                if exchange.client.blocked:
                    return 0
                if self.pipe != NULL or (self.left >= SPLICE_FROM and exchange.client.splice_fd >= 0 and socket.readable
                                             and socket.can_splice()):
                    exchange.client.flush()
                    if exchange.client.blocked:
                        return 0
                    if self.splice_body():
                        if self.exchange is not exchange or exchange.client.blocked or not socket.readable:
                            return 0
                        continue
            if not socket.readable:
                break
            if buffer_reserve(&socket.input, READ_AHEAD if self.seen == 0 else READ_AHEAD // 2) < 0:
                raise MemoryError
            n = socket.receive(&socket.input, buffer_room(&socket.input))
            if n == IO_AGAIN:
                break
            if n <= 0:
                return self.at_end_of_input()
        if buffer_len(&socket.input) == 0:
            buffer_release(&socket.input)
        if exchange.status:
            exchange.client.flush()
        return 0

    cdef int process(self) except -1:
        """Read on in what was received."""
        cdef Buffer* input = &self.socket.input
        cdef Exchange exchange = self.exchange
        cdef Py_ssize_t n = buffer_len(input)
        if self.state == SERVER_HEAD:
            return self.read_head()
        if self.state == SERVER_TRAILERS:
            return self.read_trailers()
        if self.exchange.response.framing.body == BODY_CHUNKED:
            return self.read_chunks()
        if exchange.response.framing.body == BODY_LENGTH and n > self.left:
            n = self.left
        exchange.client.put_body(span_of(input.base + input.start, n))
        self.server.stats.bytes_in += n
        input.start += n
        if exchange.response.framing.body == BODY_LENGTH:
            self.left -= n
            if self.left == 0:
                return self.complete(False)
        return 0

    cdef int read_head(self) except -1:
        cdef Buffer* input = &self.socket.input
        cdef Exchange exchange = self.exchange
        cdef Response response = exchange.response
        cdef Py_ssize_t used = response.parse(input.base + input.start, buffer_len(input), self.seen, exchange.request.is_head)
        if used == HEAD_PARTIAL:
            self.seen = buffer_len(input)
            return 0
        if used < 0:
            return self.failed(ERROR_GARBAGE)
        self.seen = 0
        if response.status < 200:
            input.start += used
            return self.interim()
        self.left = response.framing.length
        memset(&self.decoder, 0, sizeof(self.decoder))
        self.state = SERVER_BODY
        self.waiting_continue = False
        input.start += used
        exchange.response_head()
        if self.exchange is not exchange:
            return 0           # the answer was not wanted: the request goes to another server, this connection has closed
        if response.framing.body == BODY_NONE:
            return self.complete(False)
        return 0

    cdef int interim(self) except -1:
        """A 1xx answer: the final one is still to come."""
        cdef Exchange exchange = self.exchange
        cdef Response response = exchange.response
        if response.status == 101:
            if not (exchange.request.framing.upgrade and response.framing.upgrade):
                return self.failed(ERROR_GARBAGE)
            self.state = SERVER_TUNNEL
            exchange.response_head()
            return exchange.client.tunnel(self)
        self.interims += 1
        if self.interims > INTERIM_LIMIT:
            return self.failed(ERROR_GARBAGE)
        if response.status == 100:
            response.clear()
            if self.waiting_continue:
                return self.go_on()
            return 0
        if exchange.decision.failover is None:     # else nothing is certain before the status
            exchange.client.put_interim(response)
        response.clear()
        return exchange.client.flush()

    cdef int read_chunks(self) except -1:
        cdef Buffer* input = &self.socket.input
        cdef Exchange exchange = self.exchange
        cdef Py_ssize_t used
        cdef Span data
        cdef int event
        while buffer_len(input) and not exchange.client.blocked:
            event = chunk_decode(&self.decoder, input.base + input.start, buffer_len(input), &used, &data)
            if event == CHUNK_BAD:
                return self.failed(ERROR_GARBAGE)
            if event == CHUNK_DATA:
                exchange.client.put_body(data)
                self.server.stats.bytes_in += data.len
            input.start += used
            if event == CHUNK_TRAILERS:
                self.state = SERVER_TRAILERS
                if buffer_len(input):
                    return self.read_trailers()
                return 0
        return 0

    cdef int read_trailers(self) except -1:
        cdef Buffer* input = &self.socket.input
        cdef Message trailers = self.exchange.response.trailer_section()
        cdef Py_ssize_t used = trailers.parse_trailers(input.base + input.start, buffer_len(input), self.seen)
        if used == HEAD_PARTIAL and buffer_len(input) <= TRAILER_LIMIT_BYTES:
            self.seen = buffer_len(input)
            return 0
        if used <= 0:
            return self.failed(ERROR_GARBAGE)
        self.seen = 0
        input.start += used
        return self.complete(trailers.n_headers > 0)

    cdef bint splice_body(self) except *:
        """Move the body inside the kernel, as far as it goes for now. False: that is not possible."""
        cdef ClientStream client = self.exchange.client
        cdef int64_t before = self.left
        cdef int result
        if self.pipe == NULL:
            self.pipe = pipe_take()
            if self.pipe == NULL:
                return False
        result = pipe_carry(self.pipe, self.socket, client.splice_fd, &self.left)
        self.server.stats.bytes_in += before - self.left
        self.exchange.entry_point.stats.bytes_out += before - self.left
        self.exchange.response_bytes += before - self.left
        if result == CARRIED_ALL:
            pipe_give(self.pipe)
            self.pipe = NULL
            self.complete(False)
        elif result == SINK_FULL:
            client.wait_for_output()
        elif result == SINK_BROKEN:
            client.write_failed()
        elif result == SOURCE_ENDED:
            self.failed(ERROR_EOF)
        elif result == SOURCE_BROKEN:
            self.failed(ERROR_RESET)
        return True

    cdef int at_end_of_input(self) except -1:
        """The server ended, or broke, the connection."""
        cdef int error = ERROR_EOF
        if self.socket.fault == ECONNRESET or self.socket.fault == EPIPE:
            error = ERROR_RESET
        if self.state == SERVER_BODY and self.exchange.response.framing.body == BODY_UNTIL_CLOSE and error == ERROR_EOF:
            return self.complete(False)
        return self.failed(error)

    cdef int complete(self, bint with_trailers) except -1:
        """The answer is complete: be used again if nothing speaks against it."""
        cdef Exchange exchange = self.exchange
        cdef Socket socket = self.socket
        exchange.client.put_end(exchange.response.trailers if with_trailers else None)
        self.exchange = None
        self.blocked = False
        if (exchange.response.framing.keep_alive and self.sent and not socket.hangup and buffer_len(&socket.input) == 0
                and buffer_len(&socket.output) == 0 and not (socket.readable and socket.discard() != IO_AGAIN)):
            buffer_release(&socket.input)
            self.state = SERVER_IDLE
            self.reused = True
            if self.policy.idle_timeout_ms:
                socket.reactor.arm(socket, self.policy.idle_timeout_ms)
            (<Pool>self.server.pool).give(self, self.policy.max_idle)
        else:
            self.close()
        return exchange.response_end()

    cdef int close(self) except -1:
        if self.state == SERVER_CLOSED:
            return 0
        self.state = SERVER_CLOSED
        if self.pool is not None:
            (<Pool>self.pool).remove(self)
        if self.pipe != NULL:
            pipe_give(self.pipe)
            self.pipe = NULL
        self.socket.shut()
        return 0
