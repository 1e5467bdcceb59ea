# A list of networks that an address may be in.

from lbcore.http.head cimport ClientAddress


cdef struct Network:
    unsigned char ip[16]               # as in ClientAddress
    int bits                           # of 128


cdef class Networks:
    cdef Network* items
    cdef int count
    cdef bint everybody                # every address is in it

    cdef bint hold(self, const ClientAddress* client) noexcept nogil
