# The PROXY protocol: the header by which a proxy names the client of a connection.

from lbcore.http.head cimport ClientAddress

cdef enum:
    PROXY_PARTIAL = 0          # result of `proxy_parse`: more bytes are needed
    PROXY_NONE = -1            # there is no header
    PROXY_BAD = -2             # the bytes begin like a header, but are invalid

cdef struct ProxyHeader:
    bint names_ends            # the header names both ends; if not, those of the connection are right
    ClientAddress source
    ClientAddress target


cdef Py_ssize_t proxy_parse(const char* data, Py_ssize_t length, ProxyHeader* header) noexcept nogil
cdef bytes proxy_render(int version, const ClientAddress* source, const ClientAddress* target)
