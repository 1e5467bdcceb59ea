# The interface of encryption, independent of the library, which is loaded only if TLS is configured.

from lbcore.http.buffer cimport Buffer
from lbcore.transport.socket cimport Socket, Transport


cdef class EncryptedTransport(Transport):
    cdef const char* version           # e.g. `1.3`; points to a constant, NULL until the handshake is done
    cdef const char* cipher            # the IANA name; likewise
    cdef bytes server_name             # SNI of a client, in lower case; empty = none; not set towards servers
    cdef bytes protocol                # the result of ALPN; empty = none

    cdef object entry_point            # of a client whose handshake is done: EntryPoint; else None
    cdef bytes client_subject          # of the client's certificate, as in RFC 2253; None: it has shown none
    cdef tuple client_chain            # its certificates, as in `Request.tls_chain`; None likewise

    cdef int handshake(self, Socket socket) noexcept
    cdef str failure(self)
    cdef int cause(self) noexcept
    cdef bint holds_under(self, Encryption encryption) noexcept


cdef class Encryption:
    cdef bint wants_address            # a client that asks for no name gets the certificate of the address it connected to

    cdef EncryptedTransport accept(self, Buffer* received, bytes address)


cdef class ServerEncryption:
    cdef double logged_s               # time of the last line about a failure, by a monotonic clock
    cdef Py_ssize_t unlogged           # failures since

    cdef EncryptedTransport connect(self, bytes protocols)
    cdef int log(self, str server, str reason) except -1
