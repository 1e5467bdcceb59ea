# The header by which a proxy tells whom it speaks for.

from lbcore.http.head cimport ClientAddress

cdef enum:
    PROXY_PARTIAL = 0          # of `proxy_parse`: more bytes are needed
    PROXY_NONE = -1            # there is no header
    PROXY_BAD = -2             # it begins like one and is none

cdef struct ProxyHeader:
    bint told                  # it names both ends; if not, those of the connection hold
    ClientAddress source
    ClientAddress target


cdef Py_ssize_t proxy_parse(const char* data, Py_ssize_t length, ProxyHeader* header) noexcept nogil
cdef bytes proxy_render(int version, const ClientAddress* source, const ClientAddress* target)
