"""Addresses as text, and sets of networks: clients that are trusted, or allowed. No I/O. Immutable."""

import ipaddress

cimport cython
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcpy, memset

from lbcore.http.head cimport ClientAddress
from lbcore.http.span cimport Span, span_of

cdef extern from "<endian.h>" nogil:
    uint64_t be64toh(uint64_t)

cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET
    int AF_INET6
    int inet_pton(int family, const char* text, void* address)

cdef enum:
    LONGEST_TEXT = 63          # of an address, with a zone left out

MAPPED = 0xFFFF << 32          # ::ffff:0:0, where IPv4 lies among the addresses of IPv6
MAPPED_LAST = MAPPED + 0xFFFFFFFF


cdef bint read_ip(Span text, uint8_t* ip) noexcept nogil:
    """Read an address as proxies write it: IPv4 or IPv6, with a zone, which is left out, or with a port, or without.

    ip       16 bytes, as in ClientAddress; set if there is an address.
    Returns  whether the text is one.
    """
    cdef char copy[LONGEST_TEXT + 1]
    cdef const char* start = text.ptr
    cdef Py_ssize_t length = text.len
    cdef const char* colon
    cdef const char* end
    if length and start[0] == c"[":
        end = <const char*>memchr(start, c"]", length)
        if end == NULL or end + 1 == start + length or end[1] != c":":
            return False
        start += 1
        length = end - start
    else:
        colon = <const char*>memchr(start, c":", length) if length else NULL
        if colon != NULL and memchr(colon + 1, c":", start + length - colon - 1) == NULL:
            length = colon - start
    end = <const char*>memchr(start, c"%", length) if length else NULL
    if end != NULL:
        if memchr(start, c":", end - start) == NULL or end + 1 == start + length:
            return False
        length = end - start
    if length == 0 or length > LONGEST_TEXT or memchr(start, 0, length) != NULL:
        return False
    memcpy(copy, start, length)
    copy[length] = 0
    if memchr(copy, c":", length) != NULL:
        return inet_pton(AF_INET6, copy, ip) == 1
    memset(ip, 0, 10)
    ip[10] = ip[11] = 0xFF
    return inet_pton(AF_INET, copy, ip + 12) == 1


def packed_ip(bytes text):
    """`read_ip` for tests and tools: 16 bytes, or None."""
    cdef uint8_t ip[16]
    return (<char*>ip)[:16] if read_ip(span_of(text, len(text)), ip) else None


def ranges_of(texts):
    """First and last address of what these networks cover, in order, as few as possible. A network of IPv6 has none of IPv4."""
    found = []
    for text in texts:
        network = ipaddress.ip_network(text, strict=False)
        first, last = int(network.network_address), int(network.broadcast_address)
        if network.version == 4:
            found.append((MAPPED + first, MAPPED + last))
        elif network.prefixlen < 96 and first <= MAPPED and last >= MAPPED_LAST:
            found += [pair for pair in ((first, MAPPED - 1), (MAPPED_LAST + 1, last)) if pair[0] <= pair[1]]
        else:
            found.append((first, last))
    merged = []
    start = end = -2
    for first, last in sorted(found):
        if first <= end + 1:
            end = max(last, end)
            continue
        if start >= 0:
            merged.append((start, end))
        start, end = first, last
    if start >= 0:
        merged.append((start, end))
    return merged


@cython.final
cdef class Networks:
    """`texts`: addresses and networks in CIDR form, checked before. `everybody`: every address is in the set, whatever `texts` says."""

    def __cinit__(self, texts, bint everybody=False):
        ranges = ranges_of(texts)
        self.everybody = everybody
        self.ranges = <AddressRange*>malloc((len(ranges) + 1) * sizeof(AddressRange))
        if self.ranges == NULL:
            raise MemoryError
        self.count = len(ranges)
        for i, (first, last) in enumerate(ranges):
            self.ranges[<Py_ssize_t>i].first_high, self.ranges[<Py_ssize_t>i].first_low = first >> 64, first & 0xFFFFFFFFFFFFFFFF
            self.ranges[<Py_ssize_t>i].last_high, self.ranges[<Py_ssize_t>i].last_low = last >> 64, last & 0xFFFFFFFFFFFFFFFF

    def __dealloc__(self):
        free(self.ranges)

    cdef bint hold(self, const ClientAddress* client) noexcept nogil:
        """Whether a client's address is in one of them. O(log networks)."""
        return self.everybody or self.hold_ip(client.ip)

    cdef bint hold_ip(self, const uint8_t* ip) noexcept nogil:
        """`hold` for the 16 bytes of an address."""
        cdef uint64_t high, low
        cdef Py_ssize_t below = 0, above = self.count, middle
        cdef const AddressRange* item
        if self.everybody:
            return True
        memcpy(&high, ip, 8)
        memcpy(&low, ip + 8, 8)
        high, low = be64toh(high), be64toh(low)
        while below < above:               # ranges before `below` begin at or before the address, those from `above` on behind it
            middle = (below + above) >> 1
            item = &self.ranges[middle]
            if item.first_high < high or (item.first_high == high and item.first_low <= low):
                below = middle + 1
            else:
                above = middle
        if below == 0:
            return False
        item = &self.ranges[below - 1]
        return high < item.last_high or (high == item.last_high and low <= item.last_low)

    def __len__(self) -> int:
        """Number of ranges that are looked through."""
        return self.count

    def __contains__(self, str address) -> bool:
        """`hold` for tests and tools."""
        packed = packed_ip(address.encode())
        return packed is not None and self.hold_ip(<const uint8_t*><const char*>packed)
