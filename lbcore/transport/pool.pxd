# Connections to one server that have a stream to give, the one used last first.

from lbcore.proxy.exchange cimport ServerStream
from lbcore.transport.server_connection cimport ServerConnection


cdef class Pool:
    cdef ServerConnection newest
    cdef ServerConnection oldest
    cdef readonly Py_ssize_t count
    cdef bint closed                   # the server has left the configuration: nothing is kept

    cdef ServerStream open_stream(self)
    cdef int give(self, ServerConnection connection, Py_ssize_t limit) except -1
    cdef void remove(self, ServerConnection connection) noexcept
