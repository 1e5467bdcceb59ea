# Descriptors of this process: how many clients may have, and what is closed when none is left.

from libc.stdint cimport uint64_t

from lbcore.transport.reactor cimport Relief


cdef class Reserve(Relief):
    cdef list connections              # sets of ClientConnection: all open ones of the worker
    cdef object servers                # Server by identity, of the table in force
    cdef Py_ssize_t others             # descriptors that are neither clients' nor servers'
    cdef Py_ssize_t most               # clients there may be
    cdef readonly uint64_t shed        # idle connections that were closed to make room

    cdef void measure(self) noexcept
    cdef Py_ssize_t clients(self) noexcept
    cdef bint has_room(self) noexcept
    cdef Py_ssize_t close_pooled(self) except -1
    cdef Py_ssize_t close_idle(self) except -1
