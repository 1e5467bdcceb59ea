"""Non-blocking connects to the addresses of a server, one after the other."""


from libc.errno cimport (
    EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN, EINPROGRESS, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, errno,
)
from libc.stdint cimport int64_t

from lbcore.transport.inet cimport AF_UNIX, IPPROTO_TCP, sockaddr
from lbcore.transport.scarcity cimport lack

cdef extern from "<sys/socket.h>" nogil:
    int open_socket "socket"(int family, int type, int protocol)
    int connect(int fd, const sockaddr* address, unsigned int size)
    int setsockopt(int fd, int level, int name, const void* value, unsigned int size)
    enum:
        SOCK_STREAM
        SOCK_NONBLOCK
        SOCK_CLOEXEC

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_NODELAY


cdef bint is_our_lack(int error) noexcept nogil:
    """Whether an errno says that this process or machine lacks a resource: descriptors, memory, watches."""
    return error == EMFILE or error == ENFILE or error == ENOBUFS or error == ENOMEM or error == ENOSPC


cdef int connect_next(Reactor reactor, Socket socket, tuple addresses, Py_ssize_t* tried, int64_t until_ms) except? -2:
    """Begin a connection to the next of `addresses`, each packed. The reactor watches the socket, which must be new.

    tried     number of addresses tried so far, which is increased.
    until_ms  the deadline of the connection, by the reactor's clock; each address gets an equal share of the rest, after which the
              socket's `on_timeout` is called. 0 = no deadline.
    Returns CONNECTING, CONNECTED, NO_ADDRESS_LEFT or NO_RESOURCE.
    """
    cdef bytes address
    cdef const sockaddr* target
    cdef int fd, result, error = 0, outcome = NO_ADDRESS_LEFT, on = 1
    while tried[0] < len(addresses):
        address = <bytes>addresses[tried[0]]
        tried[0] += 1
        target = <const sockaddr*><const char*>address
        fd = open_socket(target.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        if fd < 0 and (errno == EMFILE or errno == ENFILE):
            reactor.relief.make_room()
            fd = open_socket(target.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        if fd < 0:
            if errno != EAFNOSUPPORT:
                outcome = NO_RESOURCE
                lack("no connection to a server can be opened", errno)
            continue
        socket.adopt(fd)
        if target.sa_family != AF_UNIX:
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))
        result = connect(fd, target, <unsigned int>len(address))
        error = errno if result < 0 else 0
        if error and error != EINPROGRESS and error != EINTR:
            socket.shut()
            # No local port is free (connect(2): EADDRNOTAVAIL, EAGAIN); for a Unix socket, EAGAIN means a full backlog instead.
            if is_our_lack(error) or error == EADDRNOTAVAIL or (error == EAGAIN and target.sa_family != AF_UNIX):
                outcome = NO_RESOURCE
                lack("no connection to a server can be begun", error)
            continue
        try:
            socket.watch(reactor, True)
        except MemoryError:
            socket.shut()
            outcome = NO_RESOURCE
            lack("no connection to a server can be watched", ENOMEM)
            continue
        except OSError as problem:
            socket.shut()
            outcome = NO_RESOURCE
            lack("no connection to a server can be watched", problem.errno)
            continue
        if result == 0:
            return CONNECTED
        if until_ms:
            reactor.arm(socket, max(1, (until_ms - reactor.now_ms) // (len(addresses) - tried[0] + 1)))
        return CONNECTING
    return outcome
