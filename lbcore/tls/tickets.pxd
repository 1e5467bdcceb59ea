# The keys of session tickets, which all workers of an instance share.

from lbcore.state.region cimport Region

cdef enum:
    KEY_NAME_BYTES = 16
    KEY_BYTES = 80             # name, AES-256 key, HMAC key


cdef class TicketKeys:
    cdef Region region

    cdef const unsigned char* newest(self) noexcept
    cdef const unsigned char* named(self, const unsigned char* name, bint* is_newest) noexcept
