# Socket addresses in the form in which the data plane stores them.

from libc.stdint cimport uint8_t, uint16_t

from lbcore.http.head cimport ClientAddress
from lbcore.transport.inet cimport sockaddr_storage


cdef void address_v4(ClientAddress* address, const uint8_t* ip, uint16_t port) noexcept nogil
cdef void address_v6(ClientAddress* address, const uint8_t* ip, uint16_t port) noexcept nogil
cdef void read_address(const sockaddr_storage* storage, ClientAddress* address) noexcept nogil
cdef void local_address(int fd, ClientAddress* address) noexcept nogil
cdef void peer_address(int fd, ClientAddress* address) noexcept nogil
