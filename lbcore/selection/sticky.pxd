# Values that name servers: of cookies, headers, tokens.

cdef class StickyCodec:
    cdef list servers                  # by index
    cdef list ids                      # bytes: value of each, by index, before it is signed
    cdef dict index_of                 # index by every value of today
    cdef dict legacy                   # index by values of former versions of Traefik: accepted, and replaced
    cdef list keys                     # secrets; empty = values are not signed
    cdef bytes context

    cdef Py_ssize_t find(self, bytes value, bint* stale) except -2
    cdef bytes value_of(self, Py_ssize_t index)
    cdef bytes signed(self, bytes id)
    cdef bytes verified(self, bytes value, bint* stale)
    cdef bytes mac(self, bytes key, bytes data)
