"""What a request counts as coming from: which address is the client's, and the key by which requests are counted. No I/O."""

import ipaddress

cimport cython
from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy, memset

from lbcore.http.head cimport ClientAddress
from lbcore.http.known cimport H_OWN, H_X_FORWARDED_FOR
from lbcore.http.networks cimport Networks, read_ip
from lbcore.http.request cimport Request
from lbcore.http.span cimport Span, span_bytes, span_of
from lbcore.middleware.told cimport find_told
from lbcore.state.holdings cimport Group

DEFAULTS = {"address": SOURCE_ADDRESS, "host": SOURCE_HOST}

cdef const char* MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"      # how the 16 bytes of an address of IPv4 begin


cdef struct Entries:           # those of X-Forwarded-For that are left, from the right; its lines count as one
    Py_ssize_t line            # index of the header that is read
    Span rest                  # of its value
    bint inside                # `rest` has an entry, which may be empty


cdef Entries entries_of(Request request) noexcept:
    cdef Entries entries
    entries.line = request.n_headers
    entries.rest = span_of(NULL, 0)
    entries.inside = False
    return entries


cdef bint take_last(Request request, Entries* entries, Span* entry) noexcept:
    """Take one entry from the right. False: none is left."""
    cdef const char* start
    cdef Py_ssize_t at, end
    while not entries.inside:
        entries.line -= 1
        if entries.line < 0:
            return False
        if request.kinds[entries.line] & ~H_OWN == H_X_FORWARDED_FOR:
            entries.rest = request.headers[entries.line].value
            entries.inside = True
    start = entries.rest.ptr
    at = end = entries.rest.len
    while at > 0 and start[at - 1] != c",":
        at -= 1
    entries.inside = at > 0
    entries.rest.len = at - 1 if at else 0
    while at < end and (start[at] == c" " or start[at] == c"\t"):
        at += 1
    while end > at and (start[end - 1] == c" " or start[end - 1] == c"\t"):
        end -= 1
    entry[0] = span_of(start + at, end - at)
    return True


cdef void mask(uint8_t* ip, int bits) noexcept:
    """Zero what is behind the first bits of an IPv6 address; one of IPv4 stays."""
    cdef int whole = bits // 8
    if bits == 128 or memcmp(ip, MAPPED, 12) == 0:
        return
    if bits % 8:
        ip[whole] &= <uint8_t>(0xFF << (8 - bits % 8))
        whole += 1
    memset(ip + whole, 0, 16 - whole)


@cython.final
cdef class Strategy:
    """Which address counts as the client's: that of the connection, or one in X-Forwarded-For.

    `config`: an IPStrategy, or None for the address of the connection. Of clients that are not trusted that header is gone before.
    """

    def __init__(self, config=None):
        self.ipv6_bits = 128
        if config is None:
            return
        self.depth = config.depth
        if not self.depth and config.excluded_ips:
            self.excluded = Networks(config.excluded_ips)
        elif config.ipv6_subnet is not None:
            self.ipv6_bits = config.ipv6_subnet

    cdef bint find(self, Request request, uint8_t* ip, Span* text) noexcept:
        """Find the address. O(headers).

        ip       its 16 bytes, as in ClientAddress.
        text     what stands in its place if there is none, part of the request; empty if nothing does.
        Returns  whether there is one.
        """
        cdef const ClientAddress* client = request.head.client
        cdef Entries entries
        cdef int left
        text[0] = span_of(NULL, 0)
        if self.depth:
            entries = entries_of(request)
            for left in range(self.depth):
                if not take_last(request, &entries, text):
                    text[0] = span_of(NULL, 0)
                    return False
            if not read_ip(text[0], ip):
                return False
        elif self.excluded is not None:
            entries = entries_of(request)
            while take_last(request, &entries, text):
                if text[0].len and not read_ip(text[0], ip):
                    return False
                if text[0].len and not self.excluded.hold_ip(ip):
                    return True
            text[0] = span_of(NULL, 0)
            return False
        elif client.text_len == 0:
            return False                       # a Unix socket
        else:
            memcpy(ip, client.ip, 16)
        mask(ip, self.ipv6_bits)
        return True

    cdef bytes name_of(self, Request request):
        """The address as text, or what stands in its place; empty if nothing does."""
        cdef uint8_t ip[16]
        cdef Span text
        if not self.find(request, ip, &text):
            return span_bytes(text)
        address = ipaddress.IPv6Address((<char*>ip)[:16])
        return str(address.ipv4_mapped or address).encode()


@cython.final
cdef class Source:
    """By what requests are told apart.

    config   a SourceCriterion, or None.
    default  `address` or `host`: what counts if it says nothing.

    Raises ValueError with Traefik's text if it names more than one.
    """

    def __init__(self, config=None, str default="address"):
        self.kind = DEFAULTS[default]
        if config is None or config.is_empty:
            self.strategy = Strategy()
            return
        if config.ip_strategy is not None and config.request_header_name:
            raise ValueError("iPStrategy and RequestHeaderName are mutually exclusive")
        if config.ip_strategy is not None and config.request_host:
            raise ValueError("iPStrategy and RequestHost are mutually exclusive")
        if config.request_header_name and config.request_host:
            raise ValueError("requestHost and RequestHeaderName are mutually exclusive")
        if config.ip_strategy is not None:
            self.kind = SOURCE_ADDRESS
            self.strategy = Strategy(config.ip_strategy)
        elif config.request_host:
            self.kind = SOURCE_HOST
        else:
            self.kind = SOURCE_HEADER
            self.name = config.request_header_name.lower().encode()

    cdef void key_of(self, Request request, Group group, uint8_t* key) noexcept:
        """The key of 16 bytes of a request's source in a group: an address is its own, of anything else a hash. O(length).

        Requests without a source (no such header, no such entry) have the key of the empty text in common.
        """
        cdef Span text
        if self.kind == SOURCE_ADDRESS:
            if self.strategy.find(request, key, &text):
                return
        else:
            text = self.told(request)
        group.key_of(text.ptr, text.len, key)

    cdef bytes text_of(self, Request request):
        """The source as a text that is the same in every instance, for stores outside of this one."""
        return self.strategy.name_of(request) if self.kind == SOURCE_ADDRESS else span_bytes(self.told(request))

    cdef Span told(self, Request request) noexcept:
        """The value of the header, or the host in lower case and without its port."""
        if self.kind == SOURCE_HEADER:
            return find_told(request, self.name, len(self.name))
        return request.forwarded_host if request.forwarded_host.len else request.head.host

    def name_of(self, Request request) -> bytes:
        """`text_of` for tests and tools."""
        return self.text_of(request)
