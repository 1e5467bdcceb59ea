# Pipes that carry body bytes from socket to socket inside the kernel.

cdef struct Pipe:
    int fds[2]                 # read end, write end
    Py_ssize_t held            # bytes in it
    Pipe* next


cdef Pipe* pipe_take() noexcept nogil
cdef void pipe_give(Pipe* pipe) noexcept nogil
cdef Py_ssize_t pipe_fill(Pipe* pipe, int fd, Py_ssize_t limit) noexcept nogil
cdef Py_ssize_t pipe_drain(Pipe* pipe, int fd) noexcept nogil
