# The pool of connections to one server that can open a stream, most recently used first.

from lbcore.proxy.exchange cimport ServerStream
from lbcore.transport.server_connection cimport ServerConnection


cdef class Pool:
    cdef ServerConnection newest
    cdef ServerConnection oldest
    cdef readonly Py_ssize_t count
    cdef bint closed                   # the server is not in the configuration any more: no connection is kept

    cdef ServerStream open_stream(self)
    cdef int give(self, ServerConnection connection, Py_ssize_t limit) except -1
    cdef void remove(self, ServerConnection connection) noexcept
