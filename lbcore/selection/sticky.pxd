# Sticky sessions: values of cookies, headers or tokens that name servers.

cdef class StickyCodec:
    cdef list servers                  # by index
    cdef list ids                      # by index: the unsigned value of each server, bytes
    cdef dict index_of                 # unsigned value -> index
    cdef dict legacy                   # value of former versions of Traefik -> index: accepted, and stale
    cdef list keys                     # secrets; empty = values are not signed
    cdef bytes context

    cdef Py_ssize_t find(self, bytes value, bint* stale) except -2
    cdef bytes value_of(self, Py_ssize_t index)
    cdef bytes signed(self, bytes id)
    cdef bytes verified(self, bytes value, bint* stale)
    cdef bytes mac(self, bytes key, bytes data)
