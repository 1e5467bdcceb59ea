# The descriptors of this process: the share of clients, and what is closed when none is left.

from libc.stdint cimport uint64_t

from lbcore.transport.reactor cimport Relief


cdef class Reserve(Relief):
    cdef list connections              # sets of all open ClientConnections of the worker
    cdef object servers                # Server by identity, of the table in force
    cdef Py_ssize_t others             # descriptors that belong neither to clients nor to servers
    cdef Py_ssize_t most               # limit of client connections
    cdef readonly uint64_t shed        # idle connections closed to make room

    cdef void measure(self) noexcept
    cdef Py_ssize_t clients(self) noexcept
    cdef bint has_room(self) noexcept
    cdef Py_ssize_t close_pooled(self) except -1
    cdef Py_ssize_t close_idle(self) except -1
