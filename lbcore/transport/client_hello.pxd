# What a client says when it begins TLS, read without being taken.

from libc.stdint cimport uint8_t

from lbcore.http.span cimport Span

cdef enum:
    HELLO_WHOLE = 0
    HELLO_PARTIAL = -1         # more bytes are needed
    HELLO_BAD = -2             # no hello that can be read; TLS itself will say so
    HELLO_BYTES = 16384        # of a hello, and of all records it comes in
    NAME_BYTES = 255


cdef struct ClientHello:
    char name[NAME_BYTES]      # that the client asks for (SNI), in lower case, without a dot at its end
    Py_ssize_t name_len        # 0: it asks for none
    Span protocols             # that it offers by ALPN, as on the wire; in the bytes that were read, or in `joined`
    uint8_t* joined            # the hello without the borders of its records, owned; NULL where it came in one


cdef int hello_read(const char* data, Py_ssize_t length, ClientHello* hello) noexcept nogil
cdef void hello_free(ClientHello* hello) noexcept nogil
