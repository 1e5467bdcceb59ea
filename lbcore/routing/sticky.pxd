# Sticky sessions: a cookie that names the member a client was given.

from lbcore.routing.asker cimport Asker
from lbcore.selection.sticky cimport StickyCodec


cdef class StickyCookie:
    cdef readonly bytes name
    cdef bytes before                  # of Set-Cookie, up to the value
    cdef bytes after                   # and behind it
    cdef StickyCodec codec

    cdef Py_ssize_t find(self, Asker asker, bint* stale) except -2
    cdef bytes line(self, Py_ssize_t index)
