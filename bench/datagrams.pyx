"""Servers and clients of UDP for the benchmark: an echo, and clients that send again when their answer has come.

Built by `bench.micro.native`; not part of the package.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from lbcore.selection.clock cimport monotonic_ns
from lbcore.transport.epoll cimport EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLLIN, epoll_create1, epoll_ctl, epoll_event, epoll_wait

cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr:
        pass
    ssize_t recv(int fd, void* data, size_t size, int flags)
    ssize_t send(int fd, const void* data, size_t size, int flags)
    ssize_t recvfrom(int fd, void* data, size_t size, int flags, sockaddr* address, unsigned int* length)
    ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* address, unsigned int length)
    enum:
        MSG_DONTWAIT

cdef enum:
    ROOM = 65536
    EVENTS = 256
    LOST_MS = 1000             # without an answer to anybody: one was lost


def echo(list descriptors) -> None:
    """Send every datagram back that comes in on these sockets, for ever."""
    cdef int epfd = epoll_create1(EPOLL_CLOEXEC), count, i, fd
    cdef epoll_event events[EVENTS]
    cdef epoll_event event
    cdef char address[128]
    cdef unsigned int length
    cdef ssize_t n
    cdef char* data = <char*>malloc(ROOM)
    for fd in descriptors:
        event.events, event.data.u64 = EPOLLIN, fd
        epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event)
    with nogil:
        while True:
            count = epoll_wait(epfd, events, EVENTS, -1)
            for i in range(count):
                fd = <int>events[i].data.u64
                while True:
                    length = sizeof(address)
                    n = recvfrom(fd, data, ROOM, MSG_DONTWAIT, <sockaddr*>address, &length)
                    if n < 0:
                        break
                    sendto(fd, data, n, MSG_DONTWAIT, <sockaddr*>address, length)


def ask(list descriptors, double seconds, Py_ssize_t size) -> tuple:
    """Each of these connected sockets sends `size` bytes, and again when its answer has come. Returns the latencies in ns.

    Raises TimeoutError when no answer comes any more.
    """
    cdef int epfd = epoll_create1(EPOLL_CLOEXEC), count, i, fd
    cdef epoll_event events[EVENTS]
    cdef epoll_event event
    cdef Py_ssize_t clients = len(descriptors), done = 0, room = 1 << 24
    cdef uint64_t* sent = <uint64_t*>calloc(clients, sizeof(uint64_t))
    cdef int* fds = <int*>calloc(clients, sizeof(int))
    cdef uint64_t* times = <uint64_t*>malloc(room * sizeof(uint64_t))
    cdef char* data = <char*>calloc(ROOM, 1)
    cdef uint64_t now = monotonic_ns(), end = now + <uint64_t>(seconds * 1e9), client
    cdef bint lost = False
    try:
        for i in range(clients):
            fds[i] = descriptors[i]
            event.events, event.data.u64 = EPOLLIN, i
            epoll_ctl(epfd, EPOLL_CTL_ADD, fds[i], &event)
            sent[i] = monotonic_ns()
            send(fds[i], data, size, MSG_DONTWAIT)
        with nogil:
            while now < end and done < room:
                count = epoll_wait(epfd, events, EVENTS, LOST_MS)
                if count == 0:
                    lost = True
                    break
                now = monotonic_ns()
                for i in range(count):
                    client = events[i].data.u64
                    if recv(fds[client], data, ROOM, MSG_DONTWAIT) < 0:
                        continue
                    if done < room:
                        times[done] = now - sent[client]
                        done += 1
                    sent[client] = now
                    send(fds[client], data, size, MSG_DONTWAIT)
        if lost:
            raise TimeoutError("a datagram was lost")
        return tuple([times[i] for i in range(done)])
    finally:
        free(sent)
        free(fds)
        free(times)
        free(data)
