"""The PROXY protocol, versions 1 and 2 (haproxy.org/download/3.0/doc/proxy-protocol.txt): read and written. No I/O.

The parser is strict: bytes that begin like a header but are none are invalid, never the first bytes of another protocol.
"""

import ipaddress

from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memchr, memcmp, memcpy, memset

from lbcore.http.head cimport ClientAddress
from lbcore.transport.address cimport address_v4, address_v6

cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char* text, void* address)

cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        AF_INET6

cdef enum:
    V1_LIMIT_BYTES = 107       # length of a header, line end included
    V2_FIXED_BYTES = 16
    V2_LIMIT_BYTES = 16384     # length of the part behind the fixed one: addresses and TLVs
    V4_BYTES = 12              # length of the address block for IPv4
    V6_BYTES = 36
    UNIX_BYTES = 216
    SIGNATURE_BYTES = 12

cdef const char* V1_BEGIN = b"PROXY "
cdef const char* V2_BEGIN = b"\r\n\r\n\x00\r\nQUIT\n"
cdef bytes SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
PARTIAL, NONE, BAD = PROXY_PARTIAL, PROXY_NONE, PROXY_BAD


cdef Py_ssize_t proxy_parse(const char* data, Py_ssize_t length, ProxyHeader* header) noexcept nogil:
    """Parse a header from the first bytes of a connection. Returns its length in bytes, or PROXY_…

    O(length). An incomplete header is parsed again from its start; its length is bounded.
    """
    header.names_ends = False
    if memcmp(data, V2_BEGIN, min(length, SIGNATURE_BYTES)) == 0:
        return PROXY_PARTIAL if length < V2_FIXED_BYTES else parse_v2(data, length, header)
    if memcmp(data, V1_BEGIN, min(length, 6)) == 0:
        return parse_v1(data, length, header)
    return PROXY_NONE


cdef Py_ssize_t parse_v2(const char* data, Py_ssize_t length, ProxyHeader* header) noexcept nogil:
    cdef const uint8_t* fixed = <const uint8_t*>data
    cdef const uint8_t* block = fixed + V2_FIXED_BYTES
    cdef int command = fixed[12] & 15, family = fixed[13] >> 4, transport = fixed[13] & 15
    cdef Py_ssize_t size = fixed[14] << 8 | fixed[15], wanted = 0
    if fixed[12] >> 4 != 2 or command > 1 or size > V2_LIMIT_BYTES:
        return PROXY_BAD
    if command == 1:
        if family > 3 or transport > 2:
            return PROXY_BAD
        wanted = V4_BYTES if family == 1 else V6_BYTES if family == 2 else UNIX_BYTES if family == 3 else 0
        if size < wanted:
            return PROXY_BAD
    if length < V2_FIXED_BYTES + size:
        return PROXY_PARTIAL
    # With LOCAL, an unspecified family, Unix sockets and datagrams the ends are those of the connection.
    if command == 1 and transport == 1 and family == 1:
        address_v4(&header.source, block, port_at(block + 8))
        address_v4(&header.target, block + 4, port_at(block + 10))
        header.names_ends = True
    elif command == 1 and transport == 1 and family == 2:
        address_v6(&header.source, block, port_at(block + 32))
        address_v6(&header.target, block + 16, port_at(block + 34))
        header.names_ends = True
    return V2_FIXED_BYTES + size


cdef inline uint16_t port_at(const uint8_t* two) noexcept nogil:
    return <uint16_t>(two[0] << 8 | two[1])


cdef Py_ssize_t parse_v1(const char* data, Py_ssize_t length, ProxyHeader* header) noexcept nogil:
    cdef const char* end = <const char*>memchr(data, c"\n", min(length, V1_LIMIT_BYTES))
    cdef const char* at = data + 6
    cdef uint8_t source[16]
    cdef uint8_t target[16]
    cdef int family, source_port, target_port
    if end == NULL:
        return PROXY_PARTIAL if length < V1_LIMIT_BYTES else PROXY_BAD
    if end - data < 7 or (end - 1)[0] != c"\r":
        return PROXY_BAD
    length = end + 1 - data
    end -= 1
    if end - at >= 7 and memcmp(at, b"UNKNOWN", 7) == 0 and (end - at == 7 or at[7] == c" "):
        return length
    if end - at < 5 or memcmp(at, b"TCP", 3) != 0 or at[4] != c" ":
        return PROXY_BAD
    if at[3] == c"4":
        family = AF_INET
    elif at[3] == c"6":
        family = AF_INET6
    else:
        return PROXY_BAD
    at += 5
    at = read_ip(at, end, family, source)
    at = read_ip(at, end, family, target)
    at = read_port(at, end, c" ", &source_port)
    at = read_port(at, end, c"\r", &target_port)
    if at == NULL or at != end + 1:
        return PROXY_BAD
    if family == AF_INET:
        address_v4(&header.source, source, <uint16_t>source_port)
        address_v4(&header.target, target, <uint16_t>target_port)
    else:
        address_v6(&header.source, source, <uint16_t>source_port)
        address_v6(&header.target, target, <uint16_t>target_port)
    header.names_ends = True
    return length


cdef const char* read_ip(const char* at, const char* end, int family, uint8_t* ip) noexcept nogil:
    """Read an address and the space behind it. Returns the position behind that, or NULL if invalid. `at` may be NULL, too."""
    cdef char text[48]
    cdef const char* space
    if at == NULL or at >= end:
        return NULL
    space = <const char*>memchr(at, c" ", end - at)
    if space == NULL or space - at >= 48 or memchr(at, 0, space - at) != NULL:
        return NULL
    memcpy(text, at, space - at)
    text[space - at] = 0
    return space + 1 if inet_pton(family, text, ip) == 1 else NULL


cdef const char* read_port(const char* at, const char* end, char stop, int* port) noexcept nogil:
    """Read a decimal number below 65536 without leading zeros, and `stop` behind it. `end` points at the last `stop`."""
    cdef int digits = 0
    port[0] = 0
    if at == NULL:
        return NULL
    while at < end and c"0" <= at[0] <= c"9" and digits < 5:
        if digits and port[0] == 0:
            return NULL
        port[0] = port[0] * 10 + at[0] - c"0"
        at += 1
        digits += 1
    return at + 1 if digits and at <= end and at[0] == stop and port[0] < 65536 else NULL


cdef bytes proxy_render(int version, const ClientAddress* source, const ClientAddress* target):
    """The header for a connection from `source` to `target`. If the source has no address (a Unix socket), it names no ends."""
    cdef bint v4 = source.is_ipv4 and (target.is_ipv4 or target.text_len == 0)
    cdef int skipped = 12 if v4 else 0
    if source.text_len == 0:
        return b"PROXY UNKNOWN\r\n" if version == 1 else SIGNATURE + b"\x20\x00\x00\x00"
    if version == 1:
        return f"PROXY {'TCP4' if v4 else 'TCP6'} {text_of(source, v4)} {text_of(target, v4)} " \
               f"{source.port} {target.port}\r\n".encode()
    body = (<const char*>source.ip)[skipped:16] + (<const char*>target.ip)[skipped:16]
    body += int(source.port).to_bytes(2, "big") + int(target.port).to_bytes(2, "big")
    return SIGNATURE + (b"\x21\x11" if v4 else b"\x21\x21") + len(body).to_bytes(2, "big") + body


cdef str text_of(const ClientAddress* address, bint v4):
    """An address as text. `v4`: whether the header is of IPv4, since both of its addresses have the same family."""
    if address.text_len == 0:
        return "0.0.0.0" if v4 else "::"
    text = address.text[:address.text_len].decode()
    return f"::ffff:{text}" if address.is_ipv4 and not v4 else text


def parse(bytes data):
    """`proxy_parse` for Python: its result, and the ends `(host, port, host, port)` if the header names them, else None."""
    cdef ProxyHeader header
    taken = proxy_parse(data, len(data), &header)
    if taken <= 0 or not header.names_ends:
        return taken, None
    source, target = &header.source, &header.target
    return taken, (source.text.decode(), source.port, target.text.decode(), target.port)


def render(int version, source, target):
    """`proxy_render` for Python: addresses are `(host, port)`; a source of None has no address."""
    cdef ClientAddress ends[2]
    memset(ends, 0, sizeof(ends))
    for i, end in enumerate((source, target)):
        if end is not None:
            packed = ipaddress.ip_address(end[0]).packed
            if len(packed) == 4:
                address_v4(&ends[<int>i], <const uint8_t*><const char*>packed, end[1])
            else:
                address_v6(&ends[<int>i], <const uint8_t*><const char*>packed, end[1])
    return proxy_render(version, &ends[0], &ends[1])
