# The client's end of an exchange that lbcore itself begins.

from lbcore.proxy.exchange cimport ClientStream
from lbcore.proxy.recording cimport Recording


cdef class LocalStream(ClientStream):
    cdef Recording body                # of the request; None = it has no body
    cdef Py_ssize_t sent_bytes         # bytes of the body that the server's end got
    cdef bint body_sent                # the server's end got all of the body and its end
