"""A listening socket: accept, and start a connection for each client."""

import logging
import os
import socket

cimport cython
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset, strlen

from lbcore.http.head cimport ClientAddress
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.http.request cimport Request
from lbcore.transport.dialer cimport SocketDialer
from lbcore.transport.epoll cimport EPOLLIN
from lbcore.transport.http1_client cimport ClientSocket, Http1Client
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.tcp_client cimport TcpConnection, TcpEnd

cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr:
        pass
    int accept4(int fd, sockaddr* address, unsigned int* size, int flags)
    enum:
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        AF_INET
        AF_INET6

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        uint8_t s6_addr[16]
    struct sockaddr_in:
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_port
        in6_addr sin6_addr
    uint16_t ntohs(uint16_t value)

cdef extern from "<arpa/inet.h>" nogil:
    const char* inet_ntop(int family, const void* address, char* text, unsigned int size)

cdef enum:
    ACCEPTED = 0
    NONE_LEFT = 1
    PAUSE = 2
    PAUSE_MS = 100             # without descriptors or memory: how long the backlog waits for some to come free

_log = logging.getLogger("lbcore.transport")


cdef void read_address(const sockaddr_storage* storage, ClientAddress* client) noexcept nogil:
    """A socket address as the data plane keeps it: v4-mapped, and as text without zone."""
    cdef const sockaddr_in* v4 = <const sockaddr_in*>storage
    cdef const sockaddr_in6* v6 = <const sockaddr_in6*>storage
    cdef const uint8_t* ip
    memset(client, 0, sizeof(ClientAddress))
    if storage.ss_family == AF_INET:
        client.is_ipv4 = True
        client.port = ntohs(v4.sin_port)
        ip = <const uint8_t*>&v4.sin_addr
    elif storage.ss_family == AF_INET6:
        client.port = ntohs(v6.sin6_port)
        ip = <const uint8_t*>&v6.sin6_addr
        memcpy(client.ip, ip, 16)
        client.is_ipv4 = is_mapped(ip)
        ip += 12
    else:
        return
    if client.is_ipv4:
        memset(client.ip, 0, 10)
        client.ip[10] = 0xFF
        client.ip[11] = 0xFF
        memcpy(client.ip + 12, ip, 4)
        inet_ntop(AF_INET, client.ip + 12, client.text, sizeof(client.text))
    else:
        inet_ntop(AF_INET6, client.ip, client.text, sizeof(client.text))
    client.text_len = <uint8_t>strlen(client.text)


cdef bint is_mapped(const uint8_t* ip) noexcept nogil:
    cdef int i
    for i in range(10):
        if ip[i]:
            return False
    return ip[10] == 0xFF and ip[11] == 0xFF


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
        """Stop listening. What waits in the backlog is accepted first: its clients are connected already."""
        if self.sock is None:
            return
        while self.accept_one() == ACCEPTED:
            pass
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
        cdef Http1Client client
        cdef ClientSocket connection
        cdef int fd
        while True:
            fd = accept4(self.fd, <sockaddr*>&storage, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                break
            if errno == EAGAIN:
                return NONE_LEFT
            if errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
                _log.error("entry point %s cannot accept: %s", self.entry_point.name, os.strerror(errno))
                return PAUSE
            if errno != EINTR and errno != ECONNABORTED:
                # Errors of the connection that was to be accepted (accept(2)): the next one may be fine.
                _log.warning("entry point %s: a connection broke before it was accepted: %s", self.entry_point.name,
                             os.strerror(errno))
        if self.entry_point.tcp is not None and self.take_tcp(fd, &storage):
            return ACCEPTED
        client = Http1Client.__new__(Http1Client)
        read_address(&storage, &client.address)
        client.entry_point = self.entry_point
        client.dialer = self.dialer
        client.clients = self.clients
        connection = ClientSocket.__new__(ClientSocket)
        connection.http = client
        connection.watch(self.reactor, fd, False)
        client.socket = connection
        self.clients.add(client)
        client.open()
        # Its first bytes are usually here already.
        try:
            client.socket.on_ready(EPOLLIN)
        except Exception as error:
            client.socket.fail(error)
        return ACCEPTED

    cdef bint take_tcp(self, int fd, const sockaddr_storage* storage) except *:
        """Begin a connection of layer 4, if a router takes it. Returns whether one does."""
        cdef TcpConnection connection = TcpConnection.__new__(TcpConnection)
        cdef Request request = Request()
        read_address(storage, &connection.address)
        request.head.client = &connection.address
        connection.route = self.entry_point.tcp.find(request)
        if connection.route is None:
            return False
        connection.entry_point = self.entry_point
        connection.dialer = <SocketDialer>self.dialer
        connection.clients = self.clients
        connection.client = TcpEnd.__new__(TcpEnd)
        connection.client.connection = connection
        connection.client.is_client = True
        connection.client.watch(self.reactor, fd, False)
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
