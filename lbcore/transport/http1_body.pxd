# Bodies of HTTP/1 messages, the same in both directions: read from a socket into a sink, and written to a socket.

from libc.stdint cimport int64_t, uint64_t

from lbcore.http.framing cimport BODY_NONE, ChunkDecoder, Framing
from lbcore.http.message cimport Message
from lbcore.http.span cimport Span
from lbcore.http.sink cimport Sink
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, Socket
from lbcore.transport.splice cimport Pipe

cdef enum BodyEvent:           # why `body_read` returned
    BODY_WAITS = 0             # the socket is empty: continue at its next event
    BODY_BLOCKED               # the sink is blocked
    BODY_COMPLETE
    BODY_BAD                   # the framing is invalid
    BODY_ENDED                 # the peer ended the connection before the body was complete
    BODY_RESET                 # the connection broke before the body was complete
    BODY_REFUSED               # the sink refused the body, with the status in `refusal`

cdef struct BodyReader:
    int kind                   # BodyKind; BODY_NONE before the first body and after a complete one, when all else is undefined
    int64_t left               # bytes still to come, if a length or chunk size announced them
    ChunkDecoder decoder
    bint in_trailers           # the last chunk was read
    Py_ssize_t seen            # bytes of an incomplete trailer section that were parsed already
    Pipe* pipe                 # owned; holds spliced bytes that have left the socket and not reached the sink; else NULL
    int refusal                # status of BODY_REFUSED
    uint64_t received          # bytes received from the socket, framing included
    uint64_t forwarded         # bytes of the body that the sink got


cdef void body_begin(BodyReader* body, const Framing* framing) noexcept nogil
cdef void body_give_pipe(BodyReader* body) noexcept nogil
cdef int body_read(BodyReader* body, Socket socket, Sink sink, Message trailers) except -1
cdef int body_put(Socket socket, bint chunking, Span data) noexcept
cdef int body_end(Socket socket, bint chunking, Message trailers) noexcept


cdef inline void body_forget(BodyReader* body) noexcept nogil:
    """Stop reading the body, and release its pipe."""
    if body.pipe != NULL:
        body_give_pipe(body)
    body.kind = BODY_NONE


cdef inline int note_output(Sink sink, int result) except -1:
    """Update a sink after a write to its socket, by the result of that: 0, IO_AGAIN or IO_FAILED."""
    if result == IO_AGAIN:
        sink.blocked = True
    elif result == IO_FAILED:
        sink.write_failed()
    return 0
