"""Bodies of HTTP/1 messages: read from a socket into a sink, copied or spliced, and written to a socket, in chunks or not."""

from libc.stdint cimport int64_t
from libc.string cimport memset

from lbcore.http.buffer cimport CHUNK_BYTES, Buffer, buffer_len, buffer_release, buffer_reserve, buffer_room
from lbcore.http.framing cimport (
    BODY_CHUNKED, BODY_LENGTH, BODY_NONE, BODY_UNTIL_CLOSE, CHUNK_BAD, CHUNK_DATA, CHUNK_TRAILERS, Framing, chunk_decode,
)
from lbcore.http.fields cimport trailer_limit
from lbcore.http.message cimport HEAD_PARTIAL, Message
from lbcore.http.render cimport put_chunk_size, render_trailers
from lbcore.http.span cimport Span, span_of
from lbcore.http.sink cimport Sink
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, Socket
from lbcore.transport.splice cimport (
    CARRIED_ALL, SINK_BROKEN, SINK_FULL, SOURCE_BROKEN, SOURCE_ENDED, SPLICE_FROM, pipe_carry, pipe_give, pipe_take,
)

cdef enum:
    PIECE_BYTES = 65536        # received at once of a long body, for a sink that wants large pieces
    NO_PIPE = -2               # returned by `splice_on`, besides BodyEvent


cdef void body_begin(BodyReader* body, const Framing* framing) noexcept nogil:
    """Begin the body of a message whose head was just read from the connection."""
    memset(body, 0, sizeof(body[0]))
    body.kind = framing.body
    body.left = framing.length


cdef void body_give_pipe(BodyReader* body) noexcept nogil:
    pipe_give(body.pipe)
    body.pipe = NULL


cdef int body_read(BodyReader* body, Socket socket, Sink sink, Message trailers) except -1:
    """Move the body from the socket's input, and from the socket, to the sink until one of them stops. Returns a BodyEvent.

    trailers  receives the trailer section; without one it has no headers.

    The caller calls `sink.end`, and after BODY_WAITS `sink.flush`. O(bytes), no call of the heap.
    """
    cdef Buffer* input = &socket.input
    cdef Py_ssize_t n, limit
    cdef int event
    while True:
        if sink.blocked:
            if buffer_len(input) == 0:
                buffer_release(input)
            return BODY_BLOCKED
        if buffer_len(input) > body.seen:
            event = pass_on(body, input, sink, trailers)
            if event != BODY_WAITS:
                return event
            continue
        if body.pipe != NULL or (body.kind == BODY_LENGTH and body.left >= SPLICE_FROM and sink.splice_fd >= 0
                                 and socket.readable and socket.can_splice()):
            sink.flush()
            if sink.blocked:
                return BODY_BLOCKED
            event = splice_on(body, socket, sink)
            if event != NO_PIPE:
                if event == BODY_WAITS and socket.readable:
                    continue
                return event
        if not socket.readable:
            break
        limit = CHUNK_BYTES if body.seen == 0 else CHUNK_BYTES // 8
        if sink.large_pieces and body.received >= PIECE_BYTES:
            limit = PIECE_BYTES
        if buffer_reserve(input, limit) < 0:
            raise MemoryError
        n = socket.receive(input, limit if limit == PIECE_BYTES else buffer_room(input))
        if n == IO_AGAIN:
            break
        if n <= 0:
            if n == 0 and body.kind == BODY_UNTIL_CLOSE:
                body.kind = BODY_NONE
                return BODY_COMPLETE
            return BODY_ENDED if n == 0 else BODY_RESET
        body.received += n
    if buffer_len(input) == 0:
        buffer_release(input)
    return BODY_WAITS


cdef int pass_on(BodyReader* body, Buffer* input, Sink sink, Message trailers) except -1:
    """Put the bytes of the body in `input` into the sink. Returns a BodyEvent."""
    cdef Py_ssize_t n = buffer_len(input), used
    cdef Span data
    cdef int event
    if body.kind == BODY_CHUNKED:
        while buffer_len(input) and not body.in_trailers:
            event = chunk_decode(&body.decoder, input.base + input.start, buffer_len(input), &used, &data)
            if event == CHUNK_BAD:
                return BODY_BAD
            input.start += used
            if event == CHUNK_TRAILERS:
                body.in_trailers = True
            elif event == CHUNK_DATA:
                body.forwarded += data.len
                body.refusal = sink.put(data)
                if body.refusal:
                    return BODY_REFUSED
                if sink.blocked:
                    return BODY_BLOCKED
        n = buffer_len(input)
        if not body.in_trailers or n == 0:
            return BODY_WAITS
        used = trailers.parse_trailers(input.base + input.start, n, body.seen)
        if used == HEAD_PARTIAL and n <= trailer_limit(trailers):
            body.seen = n
            return BODY_WAITS
        if used <= 0 or used > trailer_limit(trailers):        # the whole section may have come at once
            return BODY_BAD
        input.start += used
        body.seen = 0
        body.kind = BODY_NONE
        return BODY_COMPLETE
    if body.kind == BODY_LENGTH and n > body.left:
        n = <Py_ssize_t>body.left
    data = span_of(input.base + input.start, n)
    input.start += n
    body.left -= n
    body.forwarded += n
    body.refusal = sink.put(data)
    if body.refusal:
        return BODY_REFUSED
    if body.kind == BODY_LENGTH and body.left == 0:
        body.kind = BODY_NONE
        return BODY_COMPLETE
    return BODY_WAITS


cdef int splice_on(BodyReader* body, Socket socket, Sink sink) except -1:
    """Splice the body to the sink inside the kernel. Returns a BodyEvent, or NO_PIPE if no pipe can be had."""
    cdef int64_t before = body.left
    cdef int result
    if body.pipe == NULL:
        body.pipe = pipe_take()
        if body.pipe == NULL:
            return NO_PIPE
    result = pipe_carry(body.pipe, socket, sink.splice_fd, &body.left)
    body.received += before - body.left
    body.forwarded += before - body.left
    sink.spliced(before - body.left)
    if result == SINK_FULL:
        sink.wait_for_output()
        return BODY_BLOCKED
    if result == SINK_BROKEN:
        sink.write_failed()
        return BODY_BLOCKED
    if result == CARRIED_ALL:
        pipe_give(body.pipe)
        body.pipe = NULL
        body.kind = BODY_NONE
        return BODY_COMPLETE
    if result == SOURCE_ENDED:
        return BODY_ENDED
    return BODY_RESET if result == SOURCE_BROKEN else BODY_WAITS


cdef int body_put(Socket socket, bint chunking, Span data) noexcept:
    """Queue a part of a body behind the bytes that wait to be sent. Returns 0, IO_AGAIN or IO_FAILED, as `Socket.put`."""
    cdef char line[18]
    cdef int result
    if not chunking:
        return socket.put(data)
    if data.len == 0:
        return 0               # a chunk of 0 bytes would be the last chunk
    if socket.put_text(line, put_chunk_size(line, data.len) - line) < 0:
        return IO_FAILED
    result = socket.put(data)
    if result != IO_FAILED and socket.put_text(b"\r\n", 2) < 0:
        return IO_FAILED
    return result


cdef int body_end(Socket socket, bint chunking, Message trailers) noexcept:
    """Queue the end of a body. Returns 0 or IO_FAILED."""
    if not chunking:
        return 0
    if trailers is None:
        return socket.put_text(b"0\r\n\r\n", 5)
    return IO_FAILED if render_trailers(trailers, &socket.output) < 0 else 0
