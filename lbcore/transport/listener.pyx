"""A listening socket: accept, and start a connection for each client."""

import logging
import os
import socket

cimport cython
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport uint32_t
from libc.string cimport memset

from lbcore.http.buffer cimport Buffer, buffer_acquire, buffer_len, buffer_park, buffer_release, buffer_room
from lbcore.http.head cimport ClientAddress
from lbcore.http.request cimport Request
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.state.layout cimport ERROR_BAD_REQUEST, ERROR_CLIENT_ABORT, ERROR_CLIENT_TIMEOUT
from lbcore.transport.address cimport read_address, sockaddr_storage
from lbcore.transport.dialer cimport SocketDialer
from lbcore.transport.epoll cimport EPOLLIN
from lbcore.transport.http1_client cimport ClientSocket, Http1Client
from lbcore.transport.proxy_protocol cimport PROXY_BAD, PROXY_PARTIAL, ProxyHeader, proxy_parse
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.scarcity cimport lack
from lbcore.transport.socket cimport IO_AGAIN, OwnedSocket
from lbcore.transport.tcp_client cimport TcpConnection

cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr:
        pass
    int accept4(int fd, sockaddr* address, unsigned int* size, int flags)
    enum:
        SOCK_NONBLOCK
        SOCK_CLOEXEC

cdef extern from "<unistd.h>" nogil:
    int close_descriptor "close"(int fd)

cdef enum:
    ACCEPTED = 0
    NONE_LEFT = 1
    PAUSE = 2
    BACKLOG = 65536            # what may have been waiting when the listener closes; under a flood there is always one more
    PAUSE_MS = 100             # without descriptors or memory: how long the backlog waits for some to come free

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class Listener(Channel):
    """Owns its socket. Options set on the socket before (TCP_NODELAY, keep-alive) pass on to the connections."""

    def __init__(self, EntryPoint entry_point, Dialer dialer, set clients, sock):
        self.entry_point = entry_point
        self.dialer = dialer
        self.clients = clients
        self.sock = sock

    def open(self, Reactor reactor) -> None:
        reactor.attach(self, self.sock.fileno(), EPOLLIN)

    def close(self) -> None:
        """Stop listening. What waits in the backlog is accepted first: its clients are connected already. No more than a
        backlog may hold: under a flood others come for as long as it is open."""
        if self.sock is None:
            return
        for _ in range(BACKLOG):
            if self.accept_one() != ACCEPTED:
                break
        self.reactor.detach(self)
        self.sock.close()
        self.sock = None

    cdef int on_ready(self, uint32_t events) except -1:
        # Level-triggered: what is left brings another event, and to find out that nothing is left costs a system call.
        if not self.paused and self.accept_one() == PAUSE:
            self.pause(True)
        return 0

    cdef int pause(self, bint paused) except -1:
        """Leave the backlog alone for a while, or go on with it."""
        self.paused = paused
        self.reactor.change(self, 0 if paused else EPOLLIN)
        if paused:
            self.reactor.arm(self, PAUSE_MS)
        return 0

    cdef int on_timeout(self) except -1:
        return self.pause(False)

    cdef void fail(self, object error) noexcept:
        _log.error("internal error while accepting on entry point %s", self.entry_point.name, exc_info=error)

    cdef int accept_one(self) except -1:
        cdef sockaddr_storage storage
        cdef unsigned int size = sizeof(storage)
        cdef ClientAddress address
        cdef Arrival arrival
        cdef int fd
        while True:
            fd = accept4(self.fd, <sockaddr*>&storage, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                break
            if errno == EAGAIN:
                return NONE_LEFT
            if errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
                lack(f"entry point {self.entry_point.name} cannot accept", errno)
                return PAUSE
            if errno != EINTR and errno != ECONNABORTED:
                # Errors of the connection that was to be accepted (accept(2)): the next one may be fine.
                _log.warning("entry point %s: a connection broke before it was accepted: %s", self.entry_point.name,
                             os.strerror(errno))
        read_address(&storage, &address)
        if self.entry_point.proxies is None:
            self.begin(fd, &address, NULL, NULL)
            return ACCEPTED
        arrival = Arrival.__new__(Arrival)
        arrival.listener = self
        arrival.address = address
        try:
            arrival.open(fd)
        except Exception as error:
            arrival.fail(error)
        return ACCEPTED

    cdef int begin(self, int fd, const ClientAddress* client, const ClientAddress* local, Buffer* first) except -1:
        """Start a connection.

        client  who is at the other end, or is said to be there.
        local   what it connected to, where that was said; else NULL.
        first   bytes it has sent already, which are taken over; NULL: none were read.
        """
        cdef Http1Client http
        cdef ClientSocket socket
        if self.entry_point.tcp is not None and self.begin_tcp(fd, client, local, first):
            return 0
        http = Http1Client.__new__(Http1Client)
        http.address = client[0]
        http.entry_point = self.entry_point
        http.dialer = self.dialer
        http.clients = self.clients
        socket = ClientSocket.__new__(ClientSocket)
        socket.http = http
        socket.adopt(fd)
        socket.watch(self.reactor, False)
        http.socket = socket
        if first != NULL:
            self.entry_point.stats.bytes_in += buffer_len(first)
            socket.input = first[0]
            memset(first, 0, sizeof(Buffer))
        self.clients.add(http)
        http.open()
        # Its first bytes are usually here already.
        try:
            socket.on_ready(EPOLLIN)
        except Exception as error:
            socket.fail(error)
        return 0

    cdef bint begin_tcp(self, int fd, const ClientAddress* client, const ClientAddress* local, Buffer* first) except *:
        """Start a connection of layer 4, if a router takes it. Returns whether one does."""
        cdef TcpConnection connection = TcpConnection.__new__(TcpConnection)
        cdef Request request = Request()
        connection.address = client[0]
        request.head.client = &connection.address
        connection.route = self.entry_point.tcp.find(request)
        if connection.route is None:
            return False
        if local != NULL:
            connection.local = local[0]
        connection.entry_point = self.entry_point
        connection.dialer = <SocketDialer>self.dialer
        connection.clients = self.clients
        connection.client = OwnedSocket.__new__(OwnedSocket)
        connection.client.owner = connection
        connection.client.adopt(fd)
        connection.client.watch(self.reactor, False)
        if first != NULL:
            connection.client.input = first[0]
            memset(first, 0, sizeof(Buffer))
        try:
            connection.open()
        except Exception as error:
            connection.client.fail(error)
        return True

    cdef int serve_tcp(self) except -1:
        """Hand connections over at once: the server may be the one that speaks first."""
        if self.sock is not None and self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)
        return 0


@cython.final
cdef class Arrival(Socket):
    """A connection that may begin with a PROXY protocol header: reads it, if there is one, and starts what it is.

    Which connections need not have one follows from their first bytes. One without any, for as long as a request may
    take, is taken for layer 4, where the server may be the one that speaks first.
    """

    cdef int open(self, int fd) except -1:
        """Take the descriptor over, and read: usually the header is here, and nothing has to be watched."""
        cdef Listener listener = self.listener
        self.fd = fd
        self.readable = True
        self.read()
        if self.fd < 0:
            return 0
        self.watch(listener.reactor, False)
        self.waiting = True
        listener.clients.add(self)
        listener.entry_point.stats.accepted += 1
        listener.entry_point.stats.open_connections += 1
        if listener.entry_point.limits.read_timeout_ms:
            self.reactor.arm(self, listener.entry_point.limits.read_timeout_ms)
        return 0

    cdef int on_ready(self, uint32_t events) except -1:
        self.note(events)
        return self.read()

    cdef int read(self) except -1:
        cdef ProxyHeader header
        cdef Py_ssize_t n
        if buffer_acquire(&self.input) < 0:
            raise MemoryError
        while self.readable:
            # There is room: what is incomplete is shorter than any buffer.
            n = self.receive(&self.input, buffer_room(&self.input))
            if n == IO_AGAIN:
                break
            if n <= 0:
                self.listener.entry_point.stats.errors[<int>ERROR_CLIENT_ABORT] += 1
                return self.close()
            n = proxy_parse(self.input.base + self.input.start, buffer_len(&self.input), &header)
            if n == PROXY_BAD:
                self.listener.entry_point.stats.errors[<int>ERROR_BAD_REQUEST] += 1
                return self.close()
            if n != PROXY_PARTIAL:
                self.input.start += max(n, 0)
                return self.hand_over(&header)
        if buffer_len(&self.input) == 0:
            buffer_release(&self.input)
        else:
            buffer_park(&self.input)
        return 0

    cdef int hand_over(self, ProxyHeader* header) except -1:
        """Start the connection as what the header says, if its sender is trusted; as what it is if not."""
        cdef Listener listener = self.listener
        cdef int fd = self.fd
        cdef bint told = header != NULL and header.told and listener.entry_point.proxies.hold(&self.address)
        self.leave()
        return listener.begin(fd, &header.source if told else &self.address, &header.target if told else NULL, &self.input)

    cdef int leave(self) except -1:
        """Be gone, with the descriptor open."""
        if self.waiting:
            self.waiting = False
            self.listener.clients.discard(self)
            self.listener.entry_point.stats.accepted -= 1
            self.listener.entry_point.stats.open_connections -= 1
            self.reactor.detach(self)
        self.fd = -1
        return 0

    cdef int on_timeout(self) except -1:
        if buffer_len(&self.input) == 0 and self.listener.entry_point.tcp is not None:
            return self.hand_over(NULL)
        self.listener.entry_point.stats.errors[<int>ERROR_CLIENT_TIMEOUT] += 1
        return self.close()

    cdef int drain(self) except -1:
        """No further connection: one that has not said anything is none yet."""
        return self.close() if buffer_len(&self.input) == 0 else 0

    cdef int close(self) except -1:
        """Safe to call twice."""
        cdef int fd = self.fd
        if fd >= 0:
            self.leave()
            self.listener.entry_point.stats.accepted += 1
            close_descriptor(fd)
        return 0

    cdef void fail(self, object error) noexcept:
        _log.error("internal error on a connection of entry point %s", self.listener.entry_point.name, exc_info=error)
        try:
            self.close()
        except Exception as again:
            _log.error("internal error while closing a connection", exc_info=again)
