# Idle connections to one server, the one used last first.

from lbcore.proxy.exchange cimport ServerStream


cdef class Pool:
    cdef ServerStream newest
    cdef ServerStream oldest
    cdef readonly Py_ssize_t count
    cdef bint closed                   # the server has left the configuration: nothing is kept

    cdef ServerStream take(self)
    cdef int give(self, ServerStream stream, Py_ssize_t limit) except -1
    cdef void remove(self, ServerStream stream) noexcept
