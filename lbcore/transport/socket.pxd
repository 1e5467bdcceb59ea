# A non-blocking stream socket in the reactor, with what it has received and what it has still to send.

from libc.stdint cimport uint32_t

from lbcore.http.buffer cimport Buffer
from lbcore.http.span cimport Span
from lbcore.transport.reactor cimport Channel, Reactor

cdef enum:
    IO_AGAIN = -1              # not now: an event will tell
    IO_FAILED = -2             # the connection is broken; `Socket.fault` says how


cdef class Socket(Channel):
    cdef Buffer input
    cdef Buffer output
    cdef bint readable         # a read may find something
    cdef bint watches_output   # events tell when more can be sent
    cdef bint blocked          # a splice into it found no room; an event that tells of room clears it
    cdef bint paused           # events do not tell of bytes to receive
    cdef bint level            # events tell of bytes for as long as there are any, and not of room to send
    cdef Py_ssize_t allowance  # bytes it may still receive before others have their turn
    cdef bint hangup           # the peer has sent its last byte, or broke the connection
    cdef bint broken           # an event told of an error; what was received before can still be read
    cdef int fault             # errno of what failed

    cdef int watch(self, Reactor reactor, int fd, bint output) except -1
    cdef int wait_for_output(self) noexcept
    cdef int watch_level(self) noexcept
    cdef int pause(self) noexcept
    cdef int resume(self) noexcept
    cdef int rewatch(self) noexcept
    cdef void note(self, uint32_t events) noexcept
    cdef bint has_turn(self, Py_ssize_t taken) noexcept
    cdef Py_ssize_t receive(self, Buffer* into, Py_ssize_t limit) noexcept
    cdef Py_ssize_t discard(self) noexcept
    cdef int put(self, Span data) noexcept
    cdef int put_text(self, const char* text, Py_ssize_t length) noexcept
    cdef int keep(self, Span data) noexcept
    cdef int push(self) noexcept
    cdef Py_ssize_t send_two(self, Span first, Span second) noexcept
    cdef bint peer_is_gone(self) noexcept
    cdef void shut(self) noexcept
