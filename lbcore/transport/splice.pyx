"""Pipes for splice(2): bytes move from socket to socket without passing through this process.

Compared to receive and send, this saves both copies. A pipe costs two descriptors and two system calls, so pipes are pooled.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, Socket

cdef extern from "<fcntl.h>" nogil:
    ssize_t splice(int from_fd, void* from_offset, int to_fd, void* to_offset, size_t size, unsigned int flags)
    int fcntl(int fd, int command, int argument)
    enum:
        SPLICE_F_MOVE
        SPLICE_F_NONBLOCK
        F_SETPIPE_SZ
        O_CLOEXEC
        O_NONBLOCK

cdef extern from "<unistd.h>" nogil:
    int pipe2(int* fds, int flags)
    int close(int fd)

cdef enum:
    PIPE_BYTES = 1048576       # requested size; an unprivileged process may get less
    KEPT_PIPES = 64

cdef Pipe* kept = NULL
cdef int kept_count = 0


cdef Pipe* pipe_take() noexcept nogil:
    """An empty pipe, or NULL when none can be had."""
    global kept, kept_count
    cdef Pipe* pipe = kept
    if pipe != NULL:
        kept = pipe.next
        kept_count -= 1
        return pipe
    pipe = <Pipe*>calloc(1, sizeof(Pipe))
    if pipe == NULL:
        return NULL
    if pipe2(pipe.fds, O_CLOEXEC | O_NONBLOCK) < 0:
        free(pipe)
        return NULL
    fcntl(pipe.fds[1], F_SETPIPE_SZ, PIPE_BYTES)
    return pipe


cdef void pipe_give(Pipe* pipe) noexcept nogil:
    """Give a pipe back to the pool; a pipe that still holds bytes is closed."""
    global kept, kept_count
    if pipe.filled == 0 and kept_count < KEPT_PIPES:
        pipe.next = kept
        kept = pipe
        kept_count += 1
        return
    close(pipe.fds[0])
    close(pipe.fds[1])
    free(pipe)


cdef Py_ssize_t pipe_fill(Pipe* pipe, int fd, Py_ssize_t limit) noexcept nogil:
    """Move up to `limit` bytes from a socket into the pipe. Returns their number, 0 at the socket's end, or IO_…

    IO_AGAIN means that the socket is empty or the pipe full: drain the pipe before waiting for the socket.
    """
    cdef Py_ssize_t n
    while True:
        n = splice(fd, NULL, pipe.fds[1], NULL, limit, SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
        if n >= 0:
            pipe.filled += n
            return n
        if errno == EINTR:
            continue
        return IO_AGAIN if errno == EAGAIN else IO_FAILED


cdef Py_ssize_t pipe_drain(Pipe* pipe, int fd) noexcept nogil:
    """Move the contents of the pipe to a socket. Returns the number of bytes moved, or IO_…

    SPLICE_F_MORE is not used: TCP would hold back the last partial segment until more bytes come, or for 200 ms.
    """
    cdef Py_ssize_t n
    while True:
        n = splice(pipe.fds[0], NULL, fd, NULL, pipe.filled, SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
        if n >= 0:
            pipe.filled -= n
            return n
        if errno == EINTR:
            continue
        return IO_AGAIN if errno == EAGAIN else IO_FAILED


cdef int pipe_carry(Pipe* pipe, Socket source, int sink, int64_t* left) noexcept:
    """Move bytes of a body from a socket to another until one of them stops; `left` is decreased. Returns a Carried."""
    cdef Py_ssize_t n, taken
    while True:
        n = IO_AGAIN
        if left[0] > pipe.filled and source.readable:
            n = pipe_fill(pipe, source.splice_fd(), <Py_ssize_t>(left[0] - pipe.filled))
            if n == IO_AGAIN and pipe.filled == 0:
                source.readable = source.hangup
                return CARRIED_SOME
            if (n == 0 or n == IO_FAILED) and pipe.filled == 0:
                return SOURCE_ENDED if n == 0 else SOURCE_BROKEN
            if n > 0:
                source.has_turn(n)
        if pipe.filled == 0:
            return CARRIED_SOME
        taken = pipe_drain(pipe, sink)
        if taken == IO_FAILED:
            return SINK_BROKEN
        if taken > 0:
            left[0] -= taken
            if left[0] == 0:
                return CARRIED_ALL
        if pipe.filled:
            return SINK_FULL
