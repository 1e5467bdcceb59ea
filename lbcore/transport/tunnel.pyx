"""Bytes both ways between two sockets, inside the kernel, until both have ended or one breaks."""

cimport cython

from lbcore.http.buffer cimport buffer_len, buffer_release
from lbcore.http.span cimport span_of
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, Socket
from lbcore.transport.splice cimport Pipe, pipe_drain, pipe_fill, pipe_give, pipe_take

cdef extern from "<sys/socket.h>" nogil:
    int shutdown(int fd, int how)
    enum:
        SHUT_WR

cdef enum:
    FILL_BYTES = 1048576
    TURN_BYTES = 4194304       # carried in one direction before others have their turn: 2 to 4 ms


@cython.final
cdef class Tunnel:
    """Does not own the sockets. What they have received or still have to send already goes first."""

    def __cinit__(self, Socket client, Socket server):
        self.client = client
        self.server = server

    def __dealloc__(self):
        if self.up.pipe != NULL:
            pipe_give(self.up.pipe)
        if self.down.pipe != NULL:
            pipe_give(self.down.pipe)

    cdef bint pump(self) except *:
        """Carry what there is, both ways. Call on every event of either socket. True: it is over, close both."""
        if self.carry(self.client, self.server, &self.up) or self.carry(self.server, self.client, &self.down):
            return True
        return self.up.ended and self.down.ended

    cdef bint carry(self, Socket source, Socket sink, Direction* direction) except *:
        """One direction, as far as it goes. True: a socket broke."""
        cdef Py_ssize_t n, carried = 0
        cdef int result
        if direction.ended:
            return False
        if buffer_len(&source.input):
            sink.put(span_of(source.input.base + source.input.start, buffer_len(&source.input)))
        buffer_release(&source.input)
        result = sink.push()
        if result:
            return result == IO_FAILED
        while True:
            n = IO_AGAIN
            if source.readable:
                if direction.pipe == NULL:
                    direction.pipe = pipe_take()
                    if direction.pipe == NULL:
                        raise MemoryError("no pipe")
                n = pipe_fill(direction.pipe, source.fd, FILL_BYTES)
                if n == IO_FAILED:
                    return True
                if n == IO_AGAIN and direction.pipe.held == 0:
                    source.readable = source.hangup
                if n > 0:
                    source.has_turn(n)
            if direction.pipe != NULL and direction.pipe.held:
                if pipe_drain(direction.pipe, sink.fd) == IO_FAILED:
                    return True
                if n > 0:
                    carried += n
                if direction.pipe.held:
                    return sink.wait_for_output() == IO_FAILED     # its next event goes on here
                if carried < TURN_BYTES:
                    continue
                return source.come_again() == IO_FAILED
            if direction.pipe != NULL:
                pipe_give(direction.pipe)
                direction.pipe = NULL
            if n == 0:
                direction.ended = True
                shutdown(sink.fd, SHUT_WR)
            return False
