"""HTTP/1.1 towards a client, the body of a request: pass it on as it comes and as the server takes it."""

from libc.stdint cimport int64_t

from lbcore.http.buffer cimport Buffer, buffer_len, buffer_release, buffer_reserve, buffer_room
from lbcore.http.framing cimport BODY_LENGTH, BODY_NONE, CHUNK_BAD, CHUNK_DATA, CHUNK_TRAILERS, chunk_decode
from lbcore.http.message cimport HEAD_PARTIAL, Message
from lbcore.http.span cimport Span, span_of
from lbcore.proxy.exchange cimport ClientStream, Exchange, ServerStream
from lbcore.transport.socket cimport IO_AGAIN, Socket
from lbcore.transport.splice cimport CARRIED_ALL, SINK_BROKEN, SINK_FULL, SOURCE_BROKEN, SOURCE_ENDED, SPLICE_FROM
from lbcore.transport.splice cimport pipe_carry, pipe_give, pipe_take

cdef enum:
    TRAILER_LIMIT_BYTES = 16384

cdef bytes CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
cdef Message discarded = Message()     # trailers of requests are not passed on, as Traefik does not


cdef class Http1Upload(ClientStream):
    """What a connection needs to carry bodies of requests; `Http1Client` does the rest of it."""

    cdef int drop(self) except -1:
        """The client is lost: break off whatever is under way."""
        return 0

    cdef int drop_if_gone(self) except -1:
        """Break off when the client has ended its side."""
        return 0

    cdef int want_body(self) except -1:
        """Pass the body on, as far as it has come and the server takes it."""
        cdef Socket socket = self.socket
        cdef Exchange exchange = self.exchange
        cdef ServerStream stream
        cdef Py_ssize_t n
        while self.body_kind != BODY_NONE:
            stream = exchange.stream
            if stream is None or stream.blocked:
                # Nobody reads the body of a request that waits for something: its end is known from the event alone.
                return self.drop() if exchange.pending is not None and socket.hangup else 0
            if buffer_len(&socket.input) > self.seen:
                self.continue_sent = True
                self.pass_on()
                if self.exchange is not exchange:
                    return 0
                continue
            if not self.continue_sent:
                self.continue_sent = True
                socket.put_text(CONTINUE, len(CONTINUE))
                self.flush()
            if self.pipe != NULL or (self.body_kind == BODY_LENGTH and self.body_left >= SPLICE_FROM
                                     and stream.splice_fd >= 0 and exchange.recording is None and socket.readable
                                     and socket.can_splice()):
                stream.flush()
                if stream.blocked:
                    return 0
                if self.splice_body(stream):
                    if self.exchange is not exchange or not socket.readable:
                        return 0
                    continue
            if not socket.readable:
                break
            if buffer_reserve(&socket.input, 4096) < 0:
                raise MemoryError
            n = socket.receive(&socket.input, buffer_room(&socket.input))
            if n == IO_AGAIN:
                break
            if n <= 0:
                return self.drop()
            self.entry_point.stats.bytes_in += n
        if exchange.stream is not None:
            exchange.stream.flush()
        if buffer_len(&socket.input) == 0:
            buffer_release(&socket.input)
        return self.drop_if_gone()

    cdef bint splice_body(self, ServerStream stream) except *:
        """Move the body inside the kernel, as far as it goes for now. False: that is not possible."""
        cdef int64_t before = self.body_left
        cdef int result
        if self.pipe == NULL:
            self.pipe = pipe_take()
            if self.pipe == NULL:
                return False
        result = pipe_carry(self.pipe, self.socket, stream.splice_fd, &self.body_left)
        self.entry_point.stats.bytes_in += before - self.body_left
        self.exchange.request_bytes += before - self.body_left
        stream.server.stats.bytes_out += before - self.body_left
        if result == CARRIED_ALL:
            self.drop_pipe()
            self.end_body()
        elif result == SINK_FULL:
            stream.wait_for_output()
        elif result == SINK_BROKEN:
            stream.write_failed()
        elif result == SOURCE_ENDED or result == SOURCE_BROKEN:
            self.drop()
        return True

    cdef int pass_on(self) except -1:
        """Give the server what was received of the body."""
        cdef Buffer* source = &self.socket.input
        cdef ServerStream stream = self.exchange.stream
        cdef Py_ssize_t n = buffer_len(source), used
        cdef Span data
        cdef int event
        if self.body_kind == BODY_LENGTH:
            if n > self.body_left:
                n = <Py_ssize_t>self.body_left
            data = span_of(source.base + source.start, n)
            source.start += n
            self.body_left -= n
            self.exchange.put_body(data)
            if self.exchange is None or self.exchange.stream is not stream:
                return 0
            return self.end_body() if self.body_left == 0 else 0
        if self.in_trailers:
            used = discarded.parse_trailers(source.base + source.start, n, self.seen)
            if used == HEAD_PARTIAL and n <= TRAILER_LIMIT_BYTES:
                self.seen = n
                return 0
            self.seen = 0
            if used <= 0:
                self.keep_alive = False
                return self.exchange.bad_body()
            source.start += used
            return self.end_body()
        while buffer_len(source) and not stream.blocked:
            event = chunk_decode(&self.decoder, source.base + source.start, buffer_len(source), &used, &data)
            if event == CHUNK_BAD:
                self.keep_alive = False
                return self.exchange.bad_body()
            source.start += used
            if event == CHUNK_DATA:
                self.exchange.put_body(data)
                if self.exchange is None or self.exchange.stream is not stream:
                    return 0
            if event == CHUNK_TRAILERS:
                self.in_trailers = True
                self.seen = 0
                return 0
        return 0

    cdef int end_body(self) except -1:
        self.body_kind = BODY_NONE
        self.exchange.put_end()
        if self.entry_point.limits.write_timeout_ms:
            self.socket.reactor.arm(self.socket, self.entry_point.limits.write_timeout_ms)
        return self.exchange.stream.flush()

    cdef void skip_body(self) noexcept:
        """An answer comes before the request is complete: go on after it only if the rest is here already."""
        cdef Socket socket = self.socket
        if self.exchange.stream is None and self.body_kind == BODY_LENGTH \
                and buffer_len(&socket.input) >= self.body_left:
            socket.input.start += <Py_ssize_t>self.body_left
            self.body_kind = BODY_NONE
        else:
            self.keep_alive = False

    cdef void drop_pipe(self) noexcept:
        if self.pipe != NULL:
            pipe_give(self.pipe)
            self.pipe = NULL
