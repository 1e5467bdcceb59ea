# Socket addresses in the form in which the data plane stores them.

from libc.stdint cimport uint8_t, uint16_t

from lbcore.http.head cimport ClientAddress

cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr_storage:
        unsigned short ss_family


cdef void address_v4(ClientAddress* address, const uint8_t* ip, uint16_t port) noexcept nogil
cdef void address_v6(ClientAddress* address, const uint8_t* ip, uint16_t port) noexcept nogil
cdef void read_address(const sockaddr_storage* storage, ClientAddress* address) noexcept nogil
cdef void local_address(int fd, ClientAddress* address) noexcept nogil
