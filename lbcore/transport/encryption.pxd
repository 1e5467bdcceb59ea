# What an entry point accepts encrypted connections with, whatever library does it: it is loaded where it is configured.

from lbcore.http.buffer cimport Buffer
from lbcore.transport.socket cimport Socket, Transport


cdef class EncryptedTransport(Transport):
    cdef const char* version           # `1.3`; constant, NULL until the handshake is done
    cdef const char* cipher            # its name by IANA; likewise
    cdef bytes server_name             # that the client asked for, in lower case; empty: none

    cdef int handshake(self, Socket socket) noexcept
    cdef str failure(self)


cdef class Encryption:
    cdef EncryptedTransport accept(self, Buffer* received)
