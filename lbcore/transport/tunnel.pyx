"""Tunnels: bytes both ways between two sockets, spliced if possible, until both have ended or one breaks."""

cimport cython
from libc.errno cimport errno

from lbcore.http.buffer cimport Buffer, buffer_acquire, buffer_len, buffer_release, buffer_room
from lbcore.http.span cimport span_of
from lbcore.transport.fault cimport is_gone
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, Socket
from lbcore.transport.splice cimport pipe_drain, pipe_fill, pipe_give, pipe_take

cdef enum:
    FILL_BYTES = 1048576
    NO_PIPE = 2                # returned by `Tunnel.splice`

# Direction.follows
cdef enum:
    BYTES
    END
    BREAK


cdef inline int pass_on(Buffer* received, Socket sink) noexcept:
    """Send what was received, without a copy of it if the sink takes it at once; what it does not take becomes its output.
    Returns 0 or IO_FAILED."""
    cdef Py_ssize_t sent
    if buffer_len(&sink.output) == 0:
        sent = sink.send_two(span_of(received.base + received.start, buffer_len(received)), span_of(NULL, 0))
        if sent == IO_FAILED:
            return IO_FAILED
        if sent > 0:
            received.start += sent
        if buffer_len(received) == 0:
            return 0
    return sink.keep(span_of(received.base + received.start, buffer_len(received)))


@cython.final
cdef class Tunnel:
    """Does not own the sockets. Bytes in their buffers at the start are moved first."""

    def __cinit__(self, Socket client, Socket server):
        self.client = client
        self.server = server

    def __dealloc__(self):
        if self.up.pipe != NULL:
            pipe_give(self.up.pipe)
        if self.down.pipe != NULL:
            pipe_give(self.down.pipe)

    cdef bint pump(self) except *:
        """Move bytes both ways as far as possible. Called at every event of either socket. Returns True at the end: close both."""
        # A broken client ends the tunnel. The last bytes of a broken server may still be readable, and are delivered first, also if
        # it is found broken by sending to it.
        if self.client.broken:
            self.pump_one_way(self.client, self.server, &self.up)      # what it has sent before, as far as the server takes it
            return True
        if self.pump_one_way(self.client, self.server, &self.up) or self.pump_one_way(self.server, self.client, &self.down):
            return True
        return self.up.ended and self.down.ended

    cdef bint pump_one_way(self, Socket source, Socket sink, Direction* direction) except *:
        """Move bytes one way as far as possible. Returns True if a socket broke.

        Few bytes are received and sent, which takes two calls. Many bytes are spliced, which takes more calls but no copy. If they
        cannot be spliced, because one side is encrypted or there is no pipe, they are received and sent a buffer at a time; the next
        buffer is received after the sink has taken the previous one.
        """
        cdef Py_ssize_t n
        cdef int result
        if direction.ended:
            return False
        while True:
            if buffer_len(&source.input) and pass_on(&source.input, sink) < 0:
                return self.give_up(source, sink, direction)
            buffer_release(&source.input)
            result = sink.push()
            if result == IO_FAILED:
                return self.give_up(source, sink, direction)
            if result == IO_AGAIN:
                # The sink's next event continues here. Until then a level-triggered source would cause events without end: pause it.
                if not source.level:
                    return False
                source.readable = True
                return source.pause() < 0
            if direction.follows != BYTES:
                return self.end(source, sink, direction) if direction.follows == END else True
            if direction.bulk and source.can_splice() and sink.can_splice():
                result = self.splice(source, sink, direction)
                if result != NO_PIPE:
                    return result
            if not source.readable:
                return source.paused and source.resume() < 0
            if buffer_acquire(&source.input) < 0:
                raise MemoryError
            n = source.receive(&source.input, buffer_room(&source.input))
            if n <= 0:
                buffer_release(&source.input)
                if n == IO_AGAIN:
                    return source.paused and source.resume() < 0
                return self.end(source, sink, direction) if n == 0 else True
            direction.bulk = buffer_room(&source.input) == 0
            if source.hangup and source.readable and not direction.bulk:       # the last bytes and the end go on in one packet
                n = source.receive(&source.input, buffer_room(&source.input))
                if n == 0:
                    direction.follows = END
                    sink.end_follows()
                elif n == IO_FAILED:
                    direction.follows = BREAK

    cdef bint end(self, Socket source, Socket sink, Direction* direction) noexcept:
        """Shut the sending side of the sink, because the source has ended. Not if both have ended: then both will be closed. But a client
        that still sends to a server that is broken would lose the last bytes by a close alone, which resets its connection."""
        direction.ended = True
        if self.up.ended and self.down.ended and self.server.fault == 0:
            return False
        sink.shut_write()
        return source.level and source.pause() < 0

    cdef bint give_up(self, Socket source, Socket sink, Direction* direction) noexcept:
        """The sink has failed. A server that takes nothing more may have said why before it closed: the other direction goes on, to
        the end that it will find. Returns True if the tunnel ends at once."""
        if sink is self.client or not is_gone(sink.fault):
            return True
        direction.ended = True
        buffer_release(&source.input)
        buffer_release(&sink.output)
        if direction.pipe != NULL:
            pipe_give(direction.pipe)
            direction.pipe = NULL
        sink.readable = True
        return source.level and source.pause() < 0

    cdef int splice(self, Socket source, Socket sink, Direction* direction) noexcept:
        """Move bytes one way inside the kernel, through a pipe. Returns True if a socket broke, NO_PIPE if no pipe can be had.

        While the sink has no room, the source is paused, because each arriving segment would cause a useless event.
        """
        cdef Py_ssize_t n
        while True:
            if direction.pipe != NULL:
                while direction.pipe.filled and not sink.blocked:
                    n = pipe_drain(direction.pipe, sink.splice_fd())
                    if n == IO_FAILED:
                        sink.fault = errno
                        return self.give_up(source, sink, direction)
                    sink.blocked = n == IO_AGAIN
                if direction.pipe.filled:
                    source.readable = True      # while it is paused, no event announces bytes
                    return source.pause() < 0 or sink.wait_for_output() == IO_FAILED
                pipe_give(direction.pipe)
                direction.pipe = NULL
            if not source.readable:
                return source.resume() < 0
            direction.pipe = pipe_take()
            if direction.pipe == NULL:
                return NO_PIPE
            n = pipe_fill(direction.pipe, source.splice_fd(), FILL_BYTES)
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
