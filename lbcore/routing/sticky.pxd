# Sticky sessions: a cookie that names the member a client was given.

from lbcore.http.request cimport Request
from lbcore.selection.sticky cimport StickyCodec


cdef class StickyCookie:
    cdef readonly bytes name
    cdef bytes before                  # of Set-Cookie, up to the value
    cdef bytes after                   # and behind it
    cdef StickyCodec codec

    cdef Py_ssize_t find(self, Request request, bint* stale) except -2
    cdef bytes line(self, Py_ssize_t index)
