"""Stream sockets of the data plane: receive, send and keep the rest, close. At most one system call per call.

Protocols know sockets, never descriptors: only this file reads and writes, and `splice` where bytes move inside the kernel.
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
from lbcore.transport.fetch cimport fetch_ahead
from lbcore.transport.inet cimport IPPROTO_TCP, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, iovec, msghdr, sendmsg
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.timers cimport timer_clear

cdef extern from "<sys/socket.h>" nogil:
    int shutdown(int fd, int how)
    int setsockopt(int fd, int level, int name, const void* value, unsigned int size)
    int getsockopt(int fd, int level, int name, void* value, unsigned int* size)
    enum:
        SHUT_WR
        SOL_SOCKET
        SO_ERROR
        SO_KEEPALIVE
        SO_LINGER

cdef extern from * nogil:
    """
    #include <sys/syscall.h>
    #include <unistd.h>
    /* recv and send without libc: there they are cancellation points, and each call makes two locked operations from the first
       second thread of the process on. Nothing here cancels threads. A sanitizer checks the buffers in libc's functions. */
    #if defined(SYS_recvfrom) && defined(SYS_sendto) && !defined(__SANITIZE_ADDRESS__)
    static inline ssize_t lbcore_recv(int fd, void *into, size_t size, int flags) {
        return syscall(SYS_recvfrom, fd, into, size, flags, (void *)0, (void *)0);
    }
    static inline ssize_t lbcore_send(int fd, const void *data, size_t size, int flags) {
        return syscall(SYS_sendto, fd, data, size, flags, (void *)0, (void *)0);
    }
    #else
    #define lbcore_recv recv
    #define lbcore_send send
    #endif
    """
    ssize_t recv "lbcore_recv"(int fd, void* into, size_t size, int flags)
    ssize_t send "lbcore_send"(int fd, const void* data, size_t size, int flags)

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_KEEPIDLE
        TCP_KEEPINTVL

cdef extern from "<unistd.h>" nogil:
    int close(int fd)

cdef enum:
    DISCARDED_BYTES = 16384
    TURN_BYTES = 1048576       # received by one socket before others have their turn; takes some tenths of a millisecond
    GATHERED_BYTES = 16384     # small pieces are gathered up to this size, which with them fits into a chunk of the buffer pool
    COPIED_BYTES = 8192        # smaller pieces are copied behind waiting output, because a send costs more than the copy


cdef class Transport:
    """The layer between the bytes of a protocol and the descriptor: encryption. A socket without a transport is plain.

    A transport maintains `socket.readable` (a `receive` may find bytes), `socket.hangup` (the peer has ended) and `socket.fault` (the
    errno of a failure), as a plain socket does; its calls return what the socket's own calls return. Until the handshake is done,
    `receive` and `send_two` return IO_AGAIN.
    """

    cdef Py_ssize_t receive(self, Socket socket, Buffer* into, Py_ssize_t limit) noexcept:
        """Receive up to `limit` bytes behind the contents of `into`. Returns their number, 0 at the announced end, or IO_…

        A short read does not mean that the descriptor is empty; see `socket.readable`."""
        return IO_FAILED

    cdef Py_ssize_t send_two(self, Socket socket, Span first, Span second) noexcept:
        """Send two pieces. Returns the number of bytes taken, or IO_… After IO_AGAIN the next call must begin with the same bytes;
        more may follow them."""
        return IO_FAILED

    cdef bint pending(self, Socket socket) noexcept:
        """Whether the transport holds bytes that `receive` would return without reading the descriptor."""
        return False

    cdef uint32_t note(self, Socket socket, uint32_t events) noexcept:
        """Translate events of the descriptor to events above the transport: a read may wait for room to send, a write for bytes of
        the peer."""
        return events

    cdef bint peer_has_ended(self, Socket socket) noexcept:
        """Whether the end of the peer's bytes is next. Takes no bytes."""
        return False

    cdef void end_follows(self, Socket socket) noexcept:
        """As `Socket.end_follows`."""
        pass

    cdef void shut_write(self, Socket socket) noexcept:
        """Announce the end to the peer (close_notify), and shut the descriptor's sending side."""
        socket.shut_write_plain()

    cdef void sever(self, Socket socket) noexcept:
        """As `Socket.sever`: `shut` announces no end."""
        pass

    cdef void shut(self, Socket socket) noexcept:
        """Announce the end to the peer as far as that is possible at once, and release the memory, because the socket closes."""
        pass


cdef class Socket(Channel):
    """Owns its descriptor, which `shut` closes."""

    def __cinit__(self):
        self.allowance = TURN_BYTES

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)                 # adopted and never watched; the reactor refers to sockets that are watched
        buffer_release(&self.input)
        buffer_release(&self.output)

    cdef void adopt(self, int fd) noexcept:
        """Take ownership of a descriptor, which from now on closes with the socket in any case."""
        self.fd = fd

    cdef int watch(self, Reactor reactor, bint output) except -1:
        """Watch the adopted descriptor. `output`: events announce room to send, too. Raises OSError, MemoryError."""
        self.watches_output = output
        return reactor.attach(self, self.fd, EPOLLIN | EPOLLRDHUP | EPOLLET | (EPOLLOUT if output else 0))

    cdef int watch_late(self, Reactor reactor) except -1:
        """`watch`, of which the kernel is told later (`Reactor.attach_late`), or by `rewatch`."""
        return reactor.attach_late(self, self.fd, EPOLLIN | EPOLLRDHUP | EPOLLET)

    cdef int wait_for_output(self) noexcept:
        """Make events announce room to send. It is not done at the start, because most connections never need it, and each would get
        a useless event. Returns IO_AGAIN or IO_FAILED."""
        if not self.watches_output:
            self.watches_output = True
            self.level = False     # there is room most of the time, and level-triggered events would announce it without end
            if self.rewatch() < 0:
                return IO_FAILED
        return IO_AGAIN

    cdef int watch_level(self) noexcept:
        """Make events level-triggered for bytes: a reader that takes many bytes at each event saves the call that finds the socket
        empty, and must `pause` when it cannot take them. Has no effect while output waits for room, which level-triggered events
        would announce without end. Returns a negative number on failure, with `fault` set."""
        if self.level or self.blocked or buffer_len(&self.output):
            return 0
        self.watches_output = False
        self.level = True
        return self.rewatch()

    cdef int pause(self) noexcept:
        """Stop events that announce bytes. Returns a negative number on failure, with `fault` set."""
        if self.paused:
            return 0
        self.paused = True
        return self.rewatch()

    cdef int resume(self) noexcept:
        """Resume events that announce bytes, also for bytes that have arrived. Returns a negative number on failure, with `fault`
        set."""
        if not self.paused:
            return 0
        self.paused = False
        return self.rewatch()

    cdef int rewatch(self) noexcept:
        """Set the events in the reactor anew; conditions that hold already cause an event again. Returns a negative number on
        failure, with `fault` set."""
        cdef uint32_t events = 0 if self.paused else EPOLLIN | EPOLLRDHUP
        if self.watches_output:
            events |= EPOLLOUT
        if self.paused or not self.level:
            events |= EPOLLET      # while paused, too: epoll always announces a broken connection, and once is enough
        try:
            self.reactor.change(self, events)
        except OSError as error:
            self.fault = error.errno
            return IO_FAILED
        return 0

    cdef uint32_t note(self, uint32_t events) noexcept:
        """Remember what events announce, because each comes once. Returns the events for the protocol."""
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
        """Count `taken` received bytes. Returns False when other sockets have to have their turn, so that a fast peer does not keep
        the worker from them: the socket then counts as empty until its next event, which is requested. Bytes that a transport holds
        are taken first, because no event announces them."""
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
        """Receive up to `limit` bytes behind the contents of `into`, which has that room. Returns their number, 0 at the end, or IO_…"""
        if self.transport is not None:
            return self.transport.receive(self, into, limit)
        return self.receive_plain(into, limit)

    cdef Py_ssize_t receive_plain(self, Buffer* into, Py_ssize_t limit) noexcept:
        """`receive` from the descriptor itself, for plain sockets and for transports."""
        cdef Py_ssize_t n
        while True:
            n = recv(self.fd, into.base + into.end, limit, 0)
            if n > 0:
                into.end += n
                # A short read has emptied the socket. If the peer has ended, another read has to find that out.
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
        """Receive once and discard. Returns the number of bytes discarded, 0 at the end, or IO_…"""
        cdef char sink[DISCARDED_BYTES]
        cdef Buffer into
        into.base = sink
        into.end = 0
        return self.receive(&into, DISCARDED_BYTES)

    cdef Py_ssize_t send_two(self, Span first, Span second) noexcept:
        """Send two pieces in one call. Returns the number of bytes taken, or IO_…"""
        if self.transport is not None:
            return self.transport.send_two(self, first, second)
        return self.send_plain(first, second)

    cdef Py_ssize_t send_plain(self, Span first, Span second) noexcept:
        """`send_two` to the descriptor itself, for plain sockets and for transports."""
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
            n = sendmsg(self.fd, &message, MSG_NOSIGNAL | self.more)
        elif second.len:
            n = send(self.fd, second.ptr, second.len, MSG_NOSIGNAL | self.more)
        else:
            n = send(self.fd, first.ptr, first.len, MSG_NOSIGNAL | self.more)
        if n >= 0:
            return n
        if errno == EAGAIN or errno == EINTR:
            return IO_AGAIN
        self.fault = errno
        return IO_FAILED

    cdef int put(self, Span data) noexcept:
        """Queue bytes behind the waiting output; large pieces, and many small ones, are sent at once.

        Returns 0 or IO_AGAIN, when the bytes are taken and, with IO_AGAIN, some wait for an event; or IO_FAILED. O(bytes)."""
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
        """Send the waiting output. Returns 0 if all is sent, with the memory released; IO_AGAIN: call again at the next event; or
        IO_FAILED."""
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
        """Whether the end of the peer's bytes is next. Takes no bytes."""
        if self.transport is not None:
            return self.transport.peer_has_ended(self)
        return self.peer_has_ended_plain()

    cdef bint peer_has_ended_plain(self) noexcept:
        cdef char byte
        cdef Py_ssize_t n = recv(self.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT)
        return n == 0 or (n < 0 and errno != EAGAIN and errno != EINTR)

    cdef void shut_write(self) noexcept:
        """End the sending side; bytes of the peer can still be received. Output that waits is lost."""
        if self.transport is not None:
            self.transport.shut_write(self)
        else:
            shutdown(self.fd, SHUT_WR)

    cdef void shut_write_plain(self) noexcept:
        shutdown(self.fd, SHUT_WR)

    cdef void sever(self) noexcept:
        """Have `shut` reset the connection, so that the peer does not take what it has received for a whole message."""
        cdef int[2] at_once = [1, 0]           # struct linger
        if self.fd >= 0:
            setsockopt(self.fd, SOL_SOCKET, SO_LINGER, at_once, sizeof(at_once))
        if self.transport is not None:
            self.transport.sever(self)

    cdef void shut(self) noexcept:
        """Leave the reactor, close the descriptor, release the memory. Safe to call twice."""
        cdef int fd = self.fd
        if fd < 0:
            timer_clear(&self.timer)       # the deadline of a connection that is not established yet
            if self.transport is not None and self.transport.is_lowest:
                self.transport.shut(self)
                buffer_release(&self.input)
                buffer_release(&self.output)
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
        """The errno with which a non-blocking connect has failed; 0 = it is established."""
        cdef int error = 0
        cdef unsigned int size = sizeof(error)
        getsockopt(self.fd, SOL_SOCKET, SO_ERROR, &error, &size)
        return error

    cdef void probe_when_idle(self, int64_t interval_s) noexcept:
        """Make the kernel probe a silent peer (SO_KEEPALIVE), and break the connection if it does not respond."""
        cdef int on = 1, interval = <int>interval_s
        setsockopt(self.fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on))
        setsockopt(self.fd, IPPROTO_TCP, TCP_KEEPIDLE, &interval, sizeof(interval))
        setsockopt(self.fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval))

    cdef void local_address(self, ClientAddress* address) noexcept:
        """Set `address` to the local address. All zero for a Unix socket."""
        local_address(self.fd, address)


cdef class SocketOwner:
    """The interface of connections to their sockets. A socket has one owner at a time, which may hand it over to another."""

    cdef int socket_ready(self, OwnedSocket socket, uint32_t events) except -1:
        """As `Channel.on_ready`; the owner has to pass `events` through `socket.note` first."""
        return 0

    cdef int socket_timeout(self, OwnedSocket socket) except -1:
        """As `Channel.on_timeout`."""
        return 0

    cdef void socket_failed(self, OwnedSocket socket, object error) noexcept:
        """As `Channel.fail`: close everything, and log what it concerns."""
        socket.shut()

    cdef void socket_released(self, OwnedSocket socket) noexcept:
        """As `Channel.release`: the socket has left the reactor, and does not refer to its owner any more."""
        pass


@cython.final
cdef class OwnedSocket(Socket):
    """A socket that calls its owner. It keeps its owner alive until the reactor has released it; an owner that hands the socket over
    stays alive until the call into it returns."""

    cdef void foresee(self) noexcept:
        fetch_ahead(<void*>self.owner)

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
