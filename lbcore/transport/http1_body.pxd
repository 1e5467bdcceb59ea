# Bodies of HTTP/1 messages, the same in both directions: read from a socket into a sink, and written to a socket.

from libc.stdint cimport int64_t, uint64_t

from lbcore.http.framing cimport BODY_NONE, ChunkDecoder, Framing
from lbcore.http.message cimport Message
from lbcore.http.span cimport Span
from lbcore.http.sink cimport Sink
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, Socket
from lbcore.transport.splice cimport Pipe

cdef enum BodyEvent:           # how far `body_read` came
    BODY_WAITS = 0             # for the socket: an event tells when more is there
    BODY_BLOCKED               # by the sink, which takes no more for now
    BODY_COMPLETE
    BODY_BAD                   # its framing is broken
    BODY_ENDED                 # the connection ended before it was complete
    BODY_RESET                 # the connection broke before it was complete
    BODY_REFUSED               # by the sink: `refusal` says with which status

cdef struct BodyReader:
    int kind                   # BodyKind; BODY_NONE before the first one, and once it is complete: the rest means nothing then
    int64_t left               # bytes still to come, where a length says so
    ChunkDecoder decoder
    bint in_trailers           # the last chunk is past
    Py_ssize_t seen            # bytes of an incomplete trailer section that were parsed already
    Pipe* pipe                 # owned; while bytes are spliced and some have left the socket, not yet for the sink. Else NULL
    int refusal                # of BODY_REFUSED
    uint64_t received          # bytes that came from the socket, with their framing
    uint64_t forwarded         # bytes of the body that were given to the sink


cdef void body_begin(BodyReader* body, const Framing* framing) noexcept nogil
cdef void body_give_pipe(BodyReader* body) noexcept nogil
cdef int body_read(BodyReader* body, Socket socket, Sink sink, Message trailers) except -1
cdef int body_put(Socket socket, bint chunking, Span data) noexcept
cdef int body_end(Socket socket, bint chunking, Message trailers) noexcept


cdef inline void body_forget(BodyReader* body) noexcept nogil:
    """Read no more of it. What it holds is given back."""
    if body.pipe != NULL:
        body_give_pipe(body)
    body.kind = BODY_NONE


cdef inline int note_output(Sink sink, int result) except -1:
    """What became of a write to the socket of a sink: 0, IO_AGAIN, IO_FAILED."""
    if result == IO_AGAIN:
        sink.blocked = True
    elif result == IO_FAILED:
        sink.write_failed()
    return 0
