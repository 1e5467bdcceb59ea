# Sticky sessions: a cookie that names the member a client was given.

from libc.stdint cimport uint64_t

from lbcore.http.request cimport Request


cdef class StickyCookie:
    cdef readonly bytes name
    cdef bytes before                  # of Set-Cookie, up to the value
    cdef bytes after                   # and behind it
    cdef list ids                      # bytes: value of each member, by index
    cdef dict index_of                 # index by every value of today
    cdef dict legacy                   # index by values of former versions of Traefik: accepted, and replaced
    cdef list keys                     # secrets; empty = values are not signed

    cdef Py_ssize_t find(self, Request request, bint* stale) except -2
    cdef bytes verified(self, bytes value, bint* stale)
    cdef bytes line(self, Py_ssize_t index)
