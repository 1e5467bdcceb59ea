"""Bytes both ways between two sockets, inside the kernel, until both have ended or one breaks."""

cimport cython

from lbcore.http.buffer cimport buffer_acquire, buffer_len, buffer_release, buffer_room
from lbcore.http.span cimport span_of
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, Socket
from lbcore.transport.splice cimport Pipe, pipe_drain, pipe_fill, pipe_give, pipe_take

cdef extern from "<sys/socket.h>" nogil:
    int shutdown(int fd, int how)
    enum:
        SHUT_WR

cdef enum:
    FILL_BYTES = 1048576


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
        # A client that is gone wants nothing; a server's last words may be there still, and its sink tells when they are not.
        if self.client.broken:
            return True
        if self.carry(self.client, self.server, &self.up) or self.carry(self.server, self.client, &self.down):
            return True
        return self.up.ended and self.down.ended

    cdef bint carry(self, Socket source, Socket sink, Direction* direction) except *:
        """One direction, as far as it goes. True: a socket broke.

        Little is received and sent: two calls. Much is spliced: more calls, and no copy.
        """
        cdef Py_ssize_t n
        cdef int result
        if direction.ended:
            return False
        while True:
            if buffer_len(&source.input):
                sink.put(span_of(source.input.base + source.input.start, buffer_len(&source.input)))
            buffer_release(&source.input)
            result = sink.push()
            if result:
                return result == IO_FAILED
            if direction.bulk or not source.readable:
                break
            if buffer_acquire(&source.input) < 0:
                raise MemoryError
            n = source.receive(&source.input, buffer_room(&source.input))
            if n <= 0:
                buffer_release(&source.input)
                return self.end(source, sink, direction) if n == 0 else n == IO_FAILED
            direction.bulk = buffer_room(&source.input) == 0
        return self.splice(source, sink, direction)

    cdef bint end(self, Socket source, Socket sink, Direction* direction) noexcept:
        """The source has ended: tell the sink, unless it has ended, too; then it is about to be closed."""
        direction.ended = True
        if self.up.ended and self.down.ended:
            return False
        shutdown(sink.fd, SHUT_WR)
        return source.level and source.pause() < 0

    cdef bint splice(self, Socket source, Socket sink, Direction* direction) except *:
        """The same inside the kernel: all that the source has, then all of it into the sink.

        While the sink has no room the source is paused: each segment that arrives would bring an event that cannot be
        followed.
        """
        cdef Py_ssize_t n
        while True:
            if direction.pipe != NULL:
                while direction.pipe.held and not sink.blocked:
                    n = pipe_drain(direction.pipe, sink.fd)
                    if n == IO_FAILED:
                        return True
                    sink.blocked = n == IO_AGAIN
                if direction.pipe.held:
                    source.readable = True      # nothing tells while it is paused
                    return source.pause() < 0 or sink.wait_for_output() == IO_FAILED
                pipe_give(direction.pipe)
                direction.pipe = NULL
            if not source.readable:
                return source.resume() < 0
            direction.pipe = pipe_take()
            if direction.pipe == NULL:
                raise MemoryError("no pipe")
            n = pipe_fill(direction.pipe, source.fd, FILL_BYTES)
            if n > 0:
                if source.watch_level() < 0:
                    return True
                source.has_turn(n)
                continue
            pipe_give(direction.pipe)
            direction.pipe = NULL
            if n == 0:
                return self.end(source, sink, direction)
            source.readable = source.hangup
            return n == IO_FAILED or source.resume() < 0
