# Addresses as text, and sets of networks that an address may be in.

from libc.stdint cimport uint8_t, uint64_t

from lbcore.http.head cimport ClientAddress
from lbcore.http.span cimport Span


cdef struct AddressRange:              # both ends included; each address as two numbers
    uint64_t first_high
    uint64_t first_low
    uint64_t last_high
    uint64_t last_low


cdef bint read_ip(Span text, uint8_t* ip) noexcept nogil


cdef class Networks:
    cdef AddressRange* ranges          # owned; in order, none touches the next one
    cdef Py_ssize_t count
    cdef bint everybody                # every address is in it

    cdef bint hold(self, const ClientAddress* client) noexcept nogil
    cdef bint hold_ip(self, const uint8_t* ip) noexcept nogil
