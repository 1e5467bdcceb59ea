# Pipes for splice(2), which move bytes from socket to socket inside the kernel.

from libc.stdint cimport int64_t

from lbcore.transport.socket cimport Socket


cdef struct Pipe:
    int fds[2]                 # read end and write end, owned
    Py_ssize_t filled          # bytes in it
    Pipe* next

cdef enum Carried:
    CARRIED_ALL = 0            # all bytes were moved
    CARRIED_SOME               # the source is empty for now
    SINK_FULL                  # the sink has no room; the rest is in the pipe
    SINK_BROKEN
    SOURCE_ENDED
    SOURCE_BROKEN

cdef enum:
    SPLICE_FROM = 65536        # a body is spliced if at least this number of bytes is still to come


cdef Pipe* pipe_take() noexcept nogil
cdef void pipe_give(Pipe* pipe) noexcept nogil
cdef Py_ssize_t pipe_fill(Pipe* pipe, int fd, Py_ssize_t limit) noexcept nogil
cdef int pipe_carry(Pipe* pipe, Socket source, int sink, int64_t* left) noexcept
cdef Py_ssize_t pipe_drain(Pipe* pipe, int fd) noexcept nogil
