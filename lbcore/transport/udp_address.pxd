# The addresses of a datagram.

from libc.stdint cimport uint64_t

from lbcore.transport.inet cimport mmsghdr, msghdr
from lbcore.transport.session_table cimport SessionKey

cdef bint same_sender(const mmsghdr* a, const mmsghdr* b) noexcept nogil
cdef bint read_key(msghdr* message, SessionKey* key) noexcept nogil
cdef size_t put_control(msghdr* received, const SessionKey* key, uint64_t* out) noexcept nogil
