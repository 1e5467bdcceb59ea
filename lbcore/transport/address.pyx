"""Socket addresses in the form in which the data plane stores them: v4-mapped, and as text without zone. No I/O but getsockname, getpeername."""

import os

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset, strlen

from lbcore.http.head cimport ClientAddress
from lbcore.transport.inet cimport (
    AF_INET, AF_INET6, AF_UNIX, getpeername, getsockname, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage,
)

cdef extern from "<netinet/in.h>" nogil:
    uint16_t ntohs(uint16_t value)
    uint16_t htons(uint16_t value)
    uint32_t htonl(uint32_t value)

cdef extern from "<sys/un.h>" nogil:
    struct sockaddr_un:
        unsigned short sun_family
        char sun_path[108]

cdef extern from "<arpa/inet.h>" nogil:
    const char* inet_ntop(int family, const void* address, char* text, unsigned int size)
    int inet_pton(int family, const char* text, void* address)


cdef bint is_mapped(const uint8_t* ip) noexcept nogil:
    cdef int i
    for i in range(10):
        if ip[i]:
            return False
    return ip[10] == 0xFF and ip[11] == 0xFF


cdef inline char* put_byte(char* out, unsigned int value) noexcept nogil:
    """Write a number below 256. Returns the position behind it."""
    if value >= 100:
        out[0] = <char>(c"0" + value // 100)
        out += 1
    if value >= 10:
        out[0] = <char>(c"0" + value // 10 % 10)
        out += 1
    out[0] = <char>(c"0" + value % 10)
    return out + 1


cdef inline char* put_v4(char* out, const uint8_t* ip) noexcept nogil:
    """Write an address in dotted form, at most 15 bytes. Returns the position behind it."""
    cdef int i
    for i in range(4):
        if i:
            out[0] = c"."
            out += 1
        out = put_byte(out, ip[i])
    return out


cdef void address_v4(ClientAddress* address, const uint8_t* ip, uint16_t port) noexcept nogil:
    """Set an address from 4 bytes in network order, and a port in the host's order."""
    memset(address, 0, sizeof(ClientAddress))
    address.is_ipv4 = True
    address.port = port
    address.ip[10] = 0xFF
    address.ip[11] = 0xFF
    memcpy(address.ip + 12, ip, 4)
    address.text_len = <uint8_t>(put_v4(address.text, ip) - address.text)


cdef void address_v6(ClientAddress* address, const uint8_t* ip, uint16_t port) noexcept nogil:
    """Set an address from 16 bytes in network order, and a port in the host's order. A v4-mapped address counts as IPv4."""
    if is_mapped(ip):
        address_v4(address, ip + 12, port)
        return
    memset(address, 0, sizeof(ClientAddress))
    address.port = port
    memcpy(address.ip, ip, 16)
    inet_ntop(AF_INET6, ip, address.text, sizeof(address.text))
    address.text_len = <uint8_t>strlen(address.text)


cdef void read_address(const sockaddr_storage* storage, ClientAddress* address) noexcept nogil:
    """Set an address from the kernel's form. All zero for a Unix socket. Its family is read as that of the smallest form: of
    what a library keeps, only that much is aligned."""
    cdef const sockaddr_in* v4 = <const sockaddr_in*>storage
    cdef const sockaddr_in6* v6 = <const sockaddr_in6*>storage
    if v4.sin_family == AF_INET:
        address_v4(address, <const uint8_t*>&v4.sin_addr, ntohs(v4.sin_port))
    elif v4.sin_family == AF_INET6:
        address_v6(address, <const uint8_t*>&v6.sin6_addr, ntohs(v6.sin6_port))
    else:
        memset(address, 0, sizeof(ClientAddress))


cdef void local_address(int fd, ClientAddress* address) noexcept nogil:
    """Set the local address of a connection. All zero for a Unix socket."""
    cdef sockaddr_storage storage
    cdef unsigned int size = sizeof(storage)
    memset(&storage, 0, sizeof(storage))
    getsockname(fd, <sockaddr*>&storage, &size)
    read_address(&storage, address)


cdef void peer_address(int fd, ClientAddress* address) noexcept nogil:
    """Likewise, the address of the other end."""
    cdef sockaddr_storage storage
    cdef unsigned int size = sizeof(storage)
    memset(&storage, 0, sizeof(storage))
    getpeername(fd, <sockaddr*>&storage, &size)
    read_address(&storage, address)


def packed_address(int family, target) -> bytes:
    """A socket address in the kernel's form, from the family and address that `socket.getaddrinfo` returns. Raises ValueError."""
    cdef sockaddr_in v4
    cdef sockaddr_in6 v6
    cdef sockaddr_un local
    cdef bytes text
    if family == AF_UNIX:
        text = os.fsencode(target)
        if len(text) >= sizeof(local.sun_path):
            raise ValueError(f"the path of a Unix socket is too long: {target!r}")
        memset(&local, 0, sizeof(local))
        local.sun_family = AF_UNIX
        memcpy(local.sun_path, <const char*>text, len(text))
        # The length of an abstract name is explicit, a path ends with a zero byte.
        size = sizeof(local) - sizeof(local.sun_path) + len(text) + (0 if text[:1] == b"\0" else 1)
        return (<const char*>&local)[:size]
    text = target[0].partition("%")[0].encode()
    if family == AF_INET:
        memset(&v4, 0, sizeof(v4))
        v4.sin_family = AF_INET
        v4.sin_port = htons(target[1])
        if inet_pton(AF_INET, text, &v4.sin_addr) == 1:
            return (<const char*>&v4)[:sizeof(v4)]
    elif family == AF_INET6:
        memset(&v6, 0, sizeof(v6))
        v6.sin6_family = AF_INET6
        v6.sin6_port = htons(target[1])
        v6.sin6_flowinfo = htonl(target[2])
        v6.sin6_scope_id = target[3]
        if inet_pton(AF_INET6, text, &v6.sin6_addr) == 1:
            return (<const char*>&v6)[:sizeof(v6)]
    raise ValueError(f"not a socket address: {family} {target!r}")
