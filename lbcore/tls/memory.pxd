# A TLS client in memory: the caller moves the bytes.

from lbcore.tls.connector cimport Dialled


cdef class MemoryEnd:
    cdef Dialled end
    cdef void* incoming        # BIO, owned by the SSL
    cdef void* outgoing        # likewise

    cdef bint settle(self, int result) except -1
