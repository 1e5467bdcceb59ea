"""Stream sockets of the data plane: receive, send with the rest kept, close. One system call per call, at most.

Protocols know sockets, never descriptors: only this file, and `splice` where bytes move inside the kernel, read and write.
"""

cimport cython
from libc.errno cimport EAGAIN, EINTR, ENOMEM, errno
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy, memset

from lbcore.http.buffer cimport Buffer, buffer_len, buffer_release, buffer_reserve
from lbcore.http.head cimport ClientAddress
from lbcore.http.span cimport Span, span_of
from lbcore.transport.address cimport local_address
from lbcore.transport.epoll cimport EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.timers cimport timer_clear

cdef extern from "<sys/socket.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        void* msg_name
        unsigned int msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    ssize_t recv(int fd, void* into, size_t size, int flags)
    ssize_t send(int fd, const void* data, size_t size, int flags)
    ssize_t sendmsg(int fd, const msghdr* message, int flags)
    int shutdown(int fd, int how)
    int setsockopt(int fd, int level, int name, const void* value, unsigned int size)
    int getsockopt(int fd, int level, int name, void* value, unsigned int* size)
    enum:
        MSG_NOSIGNAL
        MSG_PEEK
        MSG_DONTWAIT
        SHUT_WR
        SOL_SOCKET
        SO_ERROR
        SO_KEEPALIVE

cdef extern from "<netinet/in.h>" nogil:
    enum:
        IPPROTO_TCP

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_KEEPIDLE
        TCP_KEEPINTVL

cdef extern from "<unistd.h>" nogil:
    int close(int fd)

cdef enum:
    DISCARDED_BYTES = 16384
    TURN_BYTES = 1048576       # received by one socket before others are served: some tenths of a millisecond
    GATHERED_BYTES = 16384     # of small pieces that wait for each other; with them, the output stays within a chunk
    COPIED_BYTES = 8192        # what is smaller is copied behind the output that waits; a send costs more than that


cdef class Transport:
    """What stands between the bytes of a connection and its descriptor: encryption. A socket without one is plain.

    It keeps in `socket.readable` whether `receive` may find something, in `socket.hangup` whether the peer has ended, and in
    `socket.fault` the errno of what failed, as the plain socket does; the results are those of the socket's own calls.
    A handshake is no call of its own: `receive` and `send_two` are IO_AGAIN until it is done, and whoever has to know what was
    agreed asks the transport.
    """

    cdef Py_ssize_t receive(self, Socket socket, Buffer* into, Py_ssize_t limit) noexcept:
        """Bytes put behind what `into` holds, 0 at the end that the peer has announced, or IO_… A short read says nothing
        of the descriptor: `socket.readable` does."""
        return IO_FAILED

    cdef Py_ssize_t send_two(self, Socket socket, Span first, Span second) noexcept:
        """Bytes taken, or IO_… After IO_AGAIN the caller comes back with the same bytes first, more may follow them."""
        return IO_FAILED

    cdef bint pending(self, Socket socket) noexcept:
        """Whether it holds bytes of the peer that `receive` would give without reading the descriptor."""
        return False

    cdef uint32_t note(self, Socket socket, uint32_t events) noexcept:
        """What an event of the descriptor means above the transport: a read that waits for room to send is ready when
        there is room, a write that waits for bytes of the peer when they are here."""
        return events

    cdef bint peer_has_ended(self, Socket socket) noexcept:
        """Whether the end of the peer's bytes is next, without taking any."""
        return False

    cdef void shut_write(self, Socket socket) noexcept:
        """Announce that nothing more will be sent, and end the descriptor's sending side."""
        socket.shut_write_plain()

    cdef void shut(self, Socket socket) noexcept:
        """The socket closes: announce it as far as that is possible at once, and give the memory back."""
        pass


cdef class Socket(Channel):
    """The descriptor is owned: `shut` closes it."""

    def __cinit__(self):
        self.allowance = TURN_BYTES

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)                 # adopted, and never watched: the reactor holds those that are
        buffer_release(&self.input)
        buffer_release(&self.output)

    cdef void adopt(self, int fd) noexcept:
        """Own a descriptor from here on: it closes with the socket, whatever comes between."""
        self.fd = fd

    cdef int watch(self, Reactor reactor, bint output) except -1:
        """Enter the reactor with the descriptor adopted. `output`: tell when it can be written, too. OSError, MemoryError."""
        self.watches_output = output
        return reactor.attach(self, self.fd, EPOLLIN | EPOLLRDHUP | EPOLLET | (EPOLLOUT if output else 0))

    cdef int wait_for_output(self) noexcept:
        """Have an event tell when more can be sent. Most connections never need it: asking for it at once would bring
        an event with nothing to do for each of them. Returns IO_AGAIN, or IO_FAILED."""
        if not self.watches_output:
            self.watches_output = True
            self.level = False     # there is room most of the time: a level would tell so without end
            if self.rewatch() < 0:
                return IO_FAILED
        return IO_AGAIN

    cdef int watch_level(self) noexcept:
        """Have events tell of bytes for as long as there are any: whoever takes much at each event saves the call that
        finds the socket empty. Who does not take them must `pause`. Not while something waits for room to be sent: of that
        a level would tell without end. Negative: `fault` is set."""
        if self.level or self.blocked or buffer_len(&self.output):
            return 0
        self.watches_output = False
        self.level = True
        return self.rewatch()

    cdef int pause(self) noexcept:
        """Have no events tell of bytes: there is no room for them. Negative: `fault` is set."""
        if self.paused:
            return 0
        self.paused = True
        return self.rewatch()

    cdef int resume(self) noexcept:
        """Have events tell of bytes again, and of those that are there already. Negative: `fault` is set."""
        if not self.paused:
            return 0
        self.paused = False
        return self.rewatch()

    cdef int rewatch(self) noexcept:
        """Tell the reactor what to watch for from now on; what holds already is told once more. Negative: `fault` is set."""
        cdef uint32_t events = 0 if self.paused else EPOLLIN | EPOLLRDHUP
        if self.watches_output:
            events |= EPOLLOUT
        if self.paused or not self.level:
            events |= EPOLLET      # while paused, too: a broken connection is told in any case, and once is enough
        try:
            self.reactor.change(self, events)
        except OSError as error:
            self.fault = error.errno
            return IO_FAILED
        return 0

    cdef uint32_t note(self, uint32_t events) noexcept:
        """Keep in mind what an event said: the reactor says it once. Returns what it means to the protocol."""
        if self.transport is not None:
            events = self.transport.note(self, events)
        self.allowance = TURN_BYTES
        if events & (EPOLLOUT | EPOLLHUP | EPOLLERR):
            self.blocked = False
        if events & EPOLLERR:
            self.broken = True
        if events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            self.readable = True
            if events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR):
                self.hangup = True
        return events

    cdef bint has_turn(self, Py_ssize_t taken) noexcept:
        """Whether, with `taken` bytes more, it may go on receiving. If not, it counts as empty until the next event, which
        is asked for: a fast peer must not keep the worker from everybody else. What a transport holds already is no matter
        of events: it is taken first."""
        self.allowance -= taken
        if self.transport is not None and self.transport.pending(self):
            return True
        if self.level:
            self.readable = False
            return False
        if self.allowance > 0:
            return True
        if self.rewatch() < 0:
            self.allowance = TURN_BYTES
            return True
        self.readable = False
        return False

    cdef Py_ssize_t receive(self, Buffer* into, Py_ssize_t limit) noexcept:
        """Receive up to `limit` bytes behind what `into` holds; it has that room. Bytes received, 0 at the end, or IO_…"""
        if self.transport is not None:
            return self.transport.receive(self, into, limit)
        return self.receive_plain(into, limit)

    cdef Py_ssize_t receive_plain(self, Buffer* into, Py_ssize_t limit) noexcept:
        """The same from the descriptor itself, for `receive` and for transports."""
        cdef Py_ssize_t n
        while True:
            n = recv(self.fd, into.base + into.end, limit, 0)
            if n > 0:
                into.end += n
                # A short read has emptied the socket; unless it ended, which only another read can tell from more to come.
                if n < limit and not self.hangup:
                    self.readable = False
                else:
                    self.has_turn(n)
                return n
            if n == 0:
                self.hangup = True
                return 0
            if errno == EINTR:
                continue
            if errno == EAGAIN:
                self.readable = False
                return IO_AGAIN
            self.fault = errno
            self.hangup = True
            return IO_FAILED

    cdef Py_ssize_t discard(self) noexcept:
        """Receive once and throw it away. Bytes thrown away, 0 at the end, or IO_…"""
        cdef char sink[DISCARDED_BYTES]
        cdef Buffer into
        into.base = sink
        into.end = 0
        return self.receive(&into, DISCARDED_BYTES)

    cdef Py_ssize_t send_two(self, Span first, Span second) noexcept:
        """Send two pieces as one. Bytes taken, or IO_…"""
        if self.transport is not None:
            return self.transport.send_two(self, first, second)
        return self.send_plain(first, second)

    cdef Py_ssize_t send_plain(self, Span first, Span second) noexcept:
        """The same into the descriptor itself, for `send_two` and for transports."""
        cdef iovec parts[2]
        cdef msghdr message
        cdef Py_ssize_t n
        if first.len and second.len:
            parts[0].iov_base = <void*>first.ptr
            parts[0].iov_len = first.len
            parts[1].iov_base = <void*>second.ptr
            parts[1].iov_len = second.len
            memset(&message, 0, sizeof(message))
            message.msg_iov = parts
            message.msg_iovlen = 2
            n = sendmsg(self.fd, &message, MSG_NOSIGNAL)
        elif second.len:
            n = send(self.fd, second.ptr, second.len, MSG_NOSIGNAL)
        else:
            n = send(self.fd, first.ptr, first.len, MSG_NOSIGNAL)
        if n >= 0:
            return n
        if errno == EAGAIN or errno == EINTR:
            return IO_AGAIN
        self.fault = errno
        return IO_FAILED

    cdef int put(self, Span data) noexcept:
        """Queue bytes; big pieces, and many small ones, go out at once, behind what waits. 0: taken. IO_AGAIN: taken, but some of it waits for
        an event. IO_FAILED."""
        cdef Py_ssize_t waiting = buffer_len(&self.output)
        cdef Py_ssize_t sent = 0
        if data.len > COPIED_BYTES:
            sent = self.send_two(span_of(self.output.base + self.output.start, waiting), data)
            if sent == IO_FAILED:
                return IO_FAILED
            if sent == IO_AGAIN:
                sent = 0
            if sent >= waiting:
                sent -= waiting
                self.output.start = 0
                self.output.end = 0
                if sent == data.len:
                    return 0
                data = span_of(data.ptr + sent, data.len - sent)
            else:
                self.output.start += sent
            if self.keep(data) < 0:
                return IO_FAILED
            return self.wait_for_output()
        if self.keep(data) < 0:
            return IO_FAILED
        return self.push() if buffer_len(&self.output) > GATHERED_BYTES else 0

    cdef int put_text(self, const char* text, Py_ssize_t length) noexcept:
        return self.keep(span_of(text, length))

    cdef int keep(self, Span data) noexcept:
        if buffer_reserve(&self.output, data.len) < 0:
            self.fault = ENOMEM
            return IO_FAILED
        memcpy(self.output.base + self.output.end, data.ptr, data.len)
        self.output.end += data.len
        return 0

    cdef int push(self) noexcept:
        """Send what waits. 0: all gone, the memory given back. IO_AGAIN: an event will tell when to go on. IO_FAILED."""
        cdef Py_ssize_t waiting = buffer_len(&self.output)
        cdef Py_ssize_t sent
        if waiting == 0:
            buffer_release(&self.output)
            return 0
        sent = self.send_two(span_of(self.output.base + self.output.start, waiting), span_of(NULL, 0))
        if sent == waiting:
            buffer_release(&self.output)
            return 0
        if sent == IO_FAILED:
            return IO_FAILED
        if sent > 0:
            self.output.start += sent
        return self.wait_for_output()

    cdef bint peer_has_ended(self) noexcept:
        """Whether the end of the peer's bytes is next, without taking any."""
        if self.transport is not None:
            return self.transport.peer_has_ended(self)
        return self.peer_has_ended_plain()

    cdef bint peer_has_ended_plain(self) noexcept:
        cdef char byte
        cdef Py_ssize_t n = recv(self.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT)
        return n == 0 or (n < 0 and errno != EAGAIN and errno != EINTR)

    cdef void shut_write(self) noexcept:
        """Say that nothing more will be sent; what the peer sends can still be received. What waits in `output` is lost."""
        if self.transport is not None:
            self.transport.shut_write(self)
        else:
            shutdown(self.fd, SHUT_WR)

    cdef void shut_write_plain(self) noexcept:
        shutdown(self.fd, SHUT_WR)

    cdef void shut(self) noexcept:
        """Leave the reactor, close the descriptor, give the memory back. Safe to call twice."""
        cdef int fd = self.fd
        if fd < 0:
            timer_clear(&self.timer)       # a connection that is still to be made has a deadline, too
            return
        if self.transport is not None:
            self.transport.shut(self)
        if self.reactor is None:
            self.fd = -1
        elif self.level:
            self.reactor.detach(self)
        else:
            self.reactor.forget(self)
        close(fd)
        buffer_release(&self.input)
        buffer_release(&self.output)

    # The connection

    cdef int connect_error(self) noexcept:
        """How a connection that was begun has failed, as an errno; 0: it stands."""
        cdef int error = 0
        cdef unsigned int size = sizeof(error)
        getsockopt(self.fd, SOL_SOCKET, SO_ERROR, &error, &size)
        return error

    cdef void probe_when_idle(self, int64_t interval_s) noexcept:
        """Have the kernel ask a silent peer whether it is still there, and break the connection when it is not."""
        cdef int on = 1, interval = <int>interval_s
        setsockopt(self.fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on))
        setsockopt(self.fd, IPPROTO_TCP, TCP_KEEPIDLE, &interval, sizeof(interval))
        setsockopt(self.fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval))

    cdef void local_address(self, ClientAddress* address) noexcept:
        """This side's address. All zero for a Unix socket."""
        local_address(self.fd, address)


cdef class SocketOwner:
    """What acts on the events of a socket: a connection. A socket has one owner at a time, and may change it."""

    cdef int socket_ready(self, OwnedSocket socket, uint32_t events) except -1:
        """As `Channel.on_ready`; `events` is to be given to `socket.note` first."""
        return 0

    cdef int socket_timeout(self, OwnedSocket socket) except -1:
        """As `Channel.on_timeout`."""
        return 0

    cdef void socket_failed(self, OwnedSocket socket, object error) noexcept:
        """As `Channel.fail`: close everything and say what it was."""
        socket.shut()

    cdef void socket_released(self, OwnedSocket socket) noexcept:
        """As `Channel.release`: the socket has left the reactor, and refers to its owner no more."""
        pass


@cython.final
cdef class OwnedSocket(Socket):
    """A socket that tells its owner. Until the reactor has released it, it keeps its owner alive; an owner that hands it over
    to another one is alive until its call returns."""

    cdef int on_ready(self, uint32_t events) except -1:
        cdef SocketOwner owner = self.owner
        return owner.socket_ready(self, events)

    cdef int on_timeout(self) except -1:
        cdef SocketOwner owner = self.owner
        return owner.socket_timeout(self)

    cdef void fail(self, object error) noexcept:
        cdef SocketOwner owner = self.owner
        owner.socket_failed(self, error)

    cdef void release(self) noexcept:
        cdef SocketOwner owner = self.owner
        self.owner = None
        if owner is not None:
            owner.socket_released(self)
