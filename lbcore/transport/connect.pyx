"""Connections begun to the addresses of a server, one after the other, without blocking."""

import logging
import os

from libc.errno cimport EAFNOSUPPORT, EINPROGRESS, EINTR, errno
from libc.stdint cimport int64_t

cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr:
        unsigned short sa_family
    int open_socket "socket"(int family, int type, int protocol)
    int connect(int fd, const sockaddr* address, unsigned int size)
    int setsockopt(int fd, int level, int name, const void* value, unsigned int size)
    int getsockopt(int fd, int level, int name, void* value, unsigned int* size)
    enum:
        AF_UNIX
        SOCK_STREAM
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        SOL_SOCKET
        SO_ERROR
        SO_KEEPALIVE

cdef extern from "<netinet/in.h>" nogil:
    enum:
        IPPROTO_TCP

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_NODELAY
        TCP_KEEPIDLE
        TCP_KEEPINTVL

cdef extern from "<unistd.h>" nogil:
    int close(int fd)

_log = logging.getLogger("lbcore.transport")


cdef int connect_next(Reactor reactor, Socket socket, tuple addresses, Py_ssize_t* tried, int64_t until_ms) except? -2:
    """Begin a connection to the next of `addresses`, each packed; the socket, which is a new one, enters the reactor.

    tried     addresses that were tried; counts up
    until_ms  by the reactor's clock, when one of them must have taken the connection: each gets its share of what is left,
              then the socket's `on_timeout` is called. 0: any time.
    Returns CONNECTING, CONNECTED, or NO_ADDRESS_LEFT.
    """
    cdef bytes address
    cdef const sockaddr* target
    cdef int fd, result, on = 1
    while tried[0] < len(addresses):
        address = <bytes>addresses[tried[0]]
        tried[0] += 1
        target = <const sockaddr*><const char*>address
        fd = open_socket(target.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        if fd < 0:
            if errno != EAFNOSUPPORT:
                _log.error("no connection can be opened: %s", os.strerror(errno))
            continue
        if target.sa_family != AF_UNIX:
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))
        result = connect(fd, target, <unsigned int>len(address))
        if result < 0 and errno != EINPROGRESS and errno != EINTR:
            close(fd)
            continue
        try:
            socket.watch(reactor, fd, True)
        except (OSError, MemoryError) as error:
            close(fd)
            _log.error("no connection can be watched: %s", error)
            continue
        if result == 0:
            return CONNECTED
        if until_ms:
            reactor.arm(socket, max(1, (until_ms - reactor.now_ms) // (len(addresses) - tried[0] + 1)))
        return CONNECTING
    return NO_ADDRESS_LEFT


cdef int connect_error(int fd) noexcept nogil:
    """How a connection that was begun has failed, as an errno; 0: it stands."""
    cdef int error = 0
    cdef unsigned int size = sizeof(error)
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size)
    return error


cdef void probe_when_idle(int fd, int64_t interval_s) noexcept nogil:
    """Have the kernel ask a silent peer whether it is still there, and break the connection when it is not."""
    cdef int on = 1, interval = <int>interval_s
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on))
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &interval, sizeof(interval))
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval))
