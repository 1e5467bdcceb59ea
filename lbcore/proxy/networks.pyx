"""A list of networks that an address may be in: clients that are trusted with something. No I/O. Immutable."""

import ipaddress

cimport cython
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from lbcore.http.head cimport ClientAddress


@cython.final
cdef class Networks:
    """`texts`: addresses and networks in CIDR form, checked before. `everybody`: every address is in the list, whatever `texts` says."""

    def __cinit__(self, list texts, bint everybody=False):
        networks = [ipaddress.ip_network(text, strict=False) for text in texts]
        self.everybody = everybody
        self.items = <Network*>malloc((len(networks) + 1) * sizeof(Network))
        if self.items == NULL:
            raise MemoryError
        self.count = len(networks)
        for i, network in enumerate(networks):
            packed = network.network_address.packed
            if network.version == 4:
                packed = bytes(10) + b"\xff\xff" + packed
            memcpy(self.items[<int>i].ip, <const char*>packed, 16)
            self.items[<int>i].bits = network.prefixlen + (96 if network.version == 4 else 0)

    def __dealloc__(self):
        free(self.items)

    cdef bint hold(self, const ClientAddress* client) noexcept nogil:
        """Whether the address is in one of them. O(networks)."""
        cdef int i, whole, rest
        if self.everybody:
            return True
        for i in range(self.count):
            whole = self.items[i].bits // 8
            rest = self.items[i].bits % 8
            if self.items[i].bits < 96 and client.is_ipv4:
                continue       # `::/0` is all of IPv6, and nothing of IPv4
            if memcmp(client.ip, self.items[i].ip, whole) == 0 and (
                    rest == 0 or (client.ip[whole] ^ self.items[i].ip[whole]) >> (8 - rest) == 0):
                return True
        return False
