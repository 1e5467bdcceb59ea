"""A listening socket: accept, and start a connection for each client."""

import logging
import os
import socket

cimport cython
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EMFILE, errno
from libc.stdint cimport uint32_t
from libc.string cimport memset

from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.transport.address cimport read_address
from lbcore.transport.arrival cimport Arrival
from lbcore.transport.connect cimport is_our_lack
from lbcore.transport.connection cimport Learned
from lbcore.transport.epoll cimport EPOLLIN
from lbcore.transport.inet cimport sockaddr, sockaddr_storage
from lbcore.transport.protocols cimport serve_socket
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.reserve cimport Reserve
from lbcore.transport.scarcity cimport lack
from lbcore.transport.socket cimport OwnedSocket

cdef extern from "<sys/socket.h>" nogil:
    int accept4(int fd, sockaddr* address, unsigned int* size, int flags)
    enum:
        SOCK_NONBLOCK
        SOCK_CLOEXEC

cdef enum:
    ACCEPTED = 0
    NONE_LEFT = 1
    PAUSE = 2
    BACKLOG = 65536            # connections accepted at most when the listener closes; a flood would never end
    PAUSE_MS = 100             # time until the next accept when descriptors or memory are lacking

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class Listener(Channel):
    """Owns its socket. Connections inherit the options that the socket has (TCP_NODELAY, keep-alive)."""

    def __init__(self, EntryPoint entry_point, Dialer dialer, set connections, Reserve reserve, sock):
        self.entry_point = entry_point
        self.dialer = dialer
        self.connections = connections
        self.reserve = reserve
        self.sock = sock

    def open(self, Reactor reactor) -> None:
        reactor.attach(self, self.sock.fileno(), EPOLLIN)

    def close(self) -> None:
        """Stop listening, after accepting the clients in the backlog, which are connected already: at most BACKLOG of them, because
        under a flood new ones arrive all the time."""
        if self.sock is None:
            return
        for _ in range(BACKLOG):
            if self.accept_one() != ACCEPTED:
                break
        self.reactor.detach(self)
        self.sock.close()
        self.sock = None

    cdef int on_ready(self, uint32_t events) except -1:
        # Level-triggered: clients that are left cause another event, so no system call is spent on finding that none is left.
        if not self.paused and self.accept_one() == PAUSE:
            self.pause(True)
        return 0

    cdef int pause(self, bint paused) except -1:
        """Pause accepting for PAUSE_MS, or resume it."""
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
        cdef OwnedSocket socket = self.spare
        cdef Learned learned
        cdef int fd
        # make_room reads the limit again, which may have been raised, so there may be room although nothing was closed.
        if not self.reserve.has_room() and not self.reserve.make_room() and not self.reserve.has_room():
            lack(f"entry point {self.entry_point.name} does not accept: the rest is for connections to servers", EMFILE)
            return PAUSE
        if socket is None:
            socket = self.spare = OwnedSocket.__new__(OwnedSocket)
        while True:
            fd = accept4(self.fd, <sockaddr*>&storage, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                break
            if errno == EAGAIN:
                return NONE_LEFT
            if is_our_lack(errno):
                lack(f"entry point {self.entry_point.name} cannot accept", errno)
                return ACCEPTED if self.reserve.make_room() else PAUSE
            if errno != EINTR and errno != ECONNABORTED:
                # The error is one of the connection that was to be accepted (accept(2)); the next one may be sound.
                _log.warning("entry point %s: a connection broke before it was accepted: %s", self.entry_point.name,
                             os.strerror(errno))
        socket.adopt(fd)
        self.spare = None
        memset(&learned, 0, sizeof(learned))
        read_address(&storage, &learned.client)
        try:
            self.start(socket, &learned)
        except OSError as error:
            socket.shut()
            lack(f"entry point {self.entry_point.name} cannot watch a connection", error.errno)
        except:
            socket.shut()
            raise
        return ACCEPTED

    cdef int start(self, OwnedSocket socket, const Learned* learned) except -1:
        """Start a connection, without an Arrival if its protocol is known already."""
        cdef Arrival arrival
        if self.entry_point.proxies is None and not self.entry_point.first_bytes_count:
            if self.entry_point.tcp is None:
                socket.watch_late(self.reactor)        # HTTP/1 needs events of few connections with one request
            else:
                socket.watch(self.reactor, False)
            return serve_socket(socket, learned, self.entry_point, self.dialer, self.connections)
        arrival = Arrival.__new__(Arrival)
        arrival.entry_point = self.entry_point
        arrival.connections = self.connections
        arrival.dialer = self.dialer
        arrival.learned = learned[0]
        arrival.socket = socket
        socket.owner = arrival
        try:
            return arrival.begin(self.reactor)
        except OSError:
            arrival.close()
            raise
        except Exception as error:
            arrival.socket_failed(socket, error)
            return 0

    cdef int follow_routes(self) except -1:
        """Accept connections before they have sent bytes (no TCP_DEFER_ACCEPT) if a router of layer 4 takes them without TLS,
        because the server may speak first."""
        if self.entry_point.tcp is None or not self.entry_point.tcp.routes:
            return 0
        if self.sock is not None and self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)
        return 0
