"""The lingering close of connections to clients: a socket that is closed while its peer is still sending resets the connection, and
the reset may destroy the last answer before the client has read it (RFC 9112 section 9.6)."""

from libc.stdint cimport int64_t

from lbcore.http.buffer cimport buffer_release
from lbcore.transport.socket cimport IO_AGAIN, OwnedSocket

cdef enum:
    QUIET_MS = 2000            # lingering ends when the client has sent nothing for this time, ...
    MOST_MS = 10000            # ... after this time in any case, ...
    MOST_BYTES = 67108864      # ... or after this number of bytes


cdef int linger_begin(Linger* linger, OwnedSocket socket) except -1:
    """End the sending side, and discard the input that was read. `linger_read` has to follow, now and at each event of the socket."""
    buffer_release(&socket.input)
    socket.shut_write()
    linger.until_ms = socket.reactor.now_ms + MOST_MS
    linger.discarded = 0
    return 0


cdef bint linger_read(Linger* linger, OwnedSocket socket) except *:
    """Discard what the client has sent. False: lingering is over, and the socket has to be closed; else its timer was set, and
    closes it at its expiry."""
    cdef int64_t left_ms = linger.until_ms - socket.reactor.now_ms
    cdef Py_ssize_t n
    if left_ms <= 0:
        return False
    while socket.readable and linger.discarded < MOST_BYTES:
        n = socket.discard()
        if n == IO_AGAIN:
            break
        if n <= 0:
            return False
        linger.discarded += n
    if linger.discarded >= MOST_BYTES:
        return False
    socket.reactor.arm(socket, min(<int64_t>QUIET_MS, left_ms))
    return True
