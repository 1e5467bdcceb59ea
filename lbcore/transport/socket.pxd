# A non-blocking stream socket in the reactor, plain or encrypted, with its input and output buffers.

from libc.stdint cimport int64_t, uint32_t

from lbcore.http.buffer cimport Buffer
from lbcore.http.head cimport ClientAddress
from lbcore.http.span cimport Span
from lbcore.transport.inet cimport MSG_MORE
from lbcore.transport.reactor cimport Channel, Reactor

cdef enum:
    IO_AGAIN = -1              # not possible now: try again at the next event
    IO_FAILED = -2             # the connection is broken; `Socket.fault` has the errno


cdef class Transport:
    cdef bint is_lowest        # there is no descriptor below it
    cdef Py_ssize_t receive(self, Socket socket, Buffer* into, Py_ssize_t limit) noexcept
    cdef Py_ssize_t send_two(self, Socket socket, Span first, Span second) noexcept
    cdef bint pending(self, Socket socket) noexcept
    cdef uint32_t note(self, Socket socket, uint32_t events) noexcept
    cdef bint peer_has_ended(self, Socket socket) noexcept
    cdef void end_follows(self, Socket socket) noexcept
    cdef void shut_write(self, Socket socket) noexcept
    cdef void sever(self, Socket socket) noexcept
    cdef void shut(self, Socket socket) noexcept


cdef class Socket(Channel):
    cdef Transport transport   # None = plain
    cdef Buffer input
    cdef Buffer output
    cdef bint readable         # a read may find bytes, or the end
    cdef bint watches_output   # events announce room to send
    cdef bint blocked          # a splice into it found no room; an event that announces room clears this
    cdef bint paused           # events do not announce bytes to receive
    cdef bint level            # level-triggered: events announce bytes as long as there are any, and do not announce room to send
    cdef Py_ssize_t allowance  # bytes that it may receive before other sockets have their turn
    cdef bint hangup           # the peer has ended its sending side, or broken the connection
    cdef bint broken           # an event has announced an error; bytes received before it can still be read
    cdef int fault             # errno of the failure
    cdef int more              # MSG_MORE once the bytes that are sent next are the last ones; else 0

    # The descriptor and the reactor
    cdef void adopt(self, int fd) noexcept
    cdef int watch(self, Reactor reactor, bint output) except -1
    cdef int watch_late(self, Reactor reactor) except -1
    cdef int wait_for_output(self) noexcept
    cdef int watch_level(self) noexcept
    cdef int pause(self) noexcept
    cdef int resume(self) noexcept
    cdef int rewatch(self) noexcept
    cdef uint32_t note(self, uint32_t events) noexcept
    cdef bint has_turn(self, Py_ssize_t taken) noexcept

    # Calls that go through the transport
    cdef Py_ssize_t receive(self, Buffer* into, Py_ssize_t limit) noexcept
    cdef Py_ssize_t receive_plain(self, Buffer* into, Py_ssize_t limit) noexcept
    cdef Py_ssize_t send_two(self, Span first, Span second) noexcept
    cdef Py_ssize_t send_plain(self, Span first, Span second) noexcept
    cdef bint peer_has_ended(self) noexcept
    cdef bint peer_has_ended_plain(self) noexcept
    cdef void shut_write(self) noexcept
    cdef void shut_write_plain(self) noexcept
    cdef void sever(self) noexcept
    cdef inline bint pending(self) noexcept:
        """Whether the transport holds bytes that `receive` would return, and which no event will announce."""
        return self.transport is not None and self.transport.pending(self)

    cdef inline void end_follows(self) noexcept:
        """Say that the bytes which are sent next are the last ones, behind which `shut` or `shut_write` is called at once.

        The end then goes with them: the transport's in the same send, and that of TCP in the same packet."""
        self.more = MSG_MORE
        if self.transport is not None:
            self.transport.end_follows(self)

    cdef inline bint can_splice(self) noexcept:
        """Whether bytes may move inside the kernel, because they need no encryption."""
        return self.transport is None

    cdef inline int splice_fd(self) noexcept:
        """The descriptor into which bytes may be spliced, or -1."""
        return self.fd if self.transport is None else -1

    # Calls made of these
    cdef Py_ssize_t discard(self) noexcept
    cdef int put(self, Span data) noexcept
    cdef int put_text(self, const char* text, Py_ssize_t length) noexcept
    cdef int keep(self, Span data) noexcept
    cdef int push(self) noexcept
    cdef void shut(self) noexcept

    # The connection
    cdef int connect_error(self) noexcept
    cdef void probe_when_idle(self, int64_t interval_s) noexcept
    cdef void local_address(self, ClientAddress* address) noexcept


cdef class SocketOwner:
    cdef int socket_ready(self, OwnedSocket socket, uint32_t events) except -1
    cdef int socket_timeout(self, OwnedSocket socket) except -1
    cdef void socket_failed(self, OwnedSocket socket, object error) noexcept
    cdef void socket_released(self, OwnedSocket socket) noexcept


cdef class OwnedSocket(Socket):
    cdef SocketOwner owner
