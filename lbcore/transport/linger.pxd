# The lingering close: after the last answer, input is discarded until the client closes, so that no reset destroys the answer.

from libc.stdint cimport int64_t

from lbcore.transport.socket cimport OwnedSocket


cdef struct Linger:
    int64_t until_ms           # the connection closes at this time in any case, by the reactor's clock
    Py_ssize_t discarded       # bytes of input


cdef int linger_begin(Linger* linger, OwnedSocket socket) except -1
cdef bint linger_read(Linger* linger, OwnedSocket socket) except *
