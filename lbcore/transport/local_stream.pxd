# The client's end of an exchange that lbcore makes for itself.

from lbcore.proxy.exchange cimport ClientStream
from lbcore.proxy.recording cimport Recording


cdef class LocalStream(ClientStream):
    cdef Recording body                # of the request; None for one without
    cdef Py_ssize_t sent_bytes         # of it, that the server's end has been given
    cdef bint body_sent                # that end was told that the body is complete
