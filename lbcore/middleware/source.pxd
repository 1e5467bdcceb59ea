# What a request counts as coming from: which address is the client's, and the key by which requests are counted.

from libc.stdint cimport uint8_t

from lbcore.http.networks cimport Networks
from lbcore.http.request cimport Request
from lbcore.http.span cimport Span
from lbcore.state.holdings cimport Group


cdef enum SourceKind:
    SOURCE_ADDRESS = 0
    SOURCE_HEADER
    SOURCE_HOST


cdef class Strategy:                   # immutable
    cdef int depth                     # entries from the right of X-Forwarded-For; 0 = that header does not count
    cdef int ipv6_bits                 # of an IPv6 address that count
    cdef Networks excluded             # None = none is

    cdef bint find(self, Request request, uint8_t* ip, Span* text) noexcept
    cdef bytes name_of(self, Request request)


cdef class Source:                     # immutable
    cdef int kind                      # SourceKind
    cdef Strategy strategy             # of SOURCE_ADDRESS
    cdef bytes name                    # of a header, in lower case

    cdef void key_of(self, Request request, Group group, uint8_t* key) noexcept
    cdef bytes text_of(self, Request request)
    cdef Span told(self, Request request) noexcept
