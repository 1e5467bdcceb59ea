# What encrypted connections are accepted and made with, whatever library does it: it is loaded where it is configured.

from lbcore.http.buffer cimport Buffer
from lbcore.transport.socket cimport Socket, Transport


cdef class EncryptedTransport(Transport):
    cdef const char* version           # `1.3`; constant, NULL until the handshake is done
    cdef const char* cipher            # its name by IANA; likewise
    cdef bytes server_name             # that the client asked for, in lower case; empty: none. Towards servers it is not set
    cdef bytes protocol                # that ALPN agreed on; empty: none

    cdef int handshake(self, Socket socket) noexcept
    cdef str failure(self)


cdef class Encryption:
    cdef EncryptedTransport accept(self, Buffer* received)


cdef class ServerEncryption:
    cdef double told_s                 # when a failure was told last; of a monotonic clock
    cdef Py_ssize_t untold             # failures since

    cdef EncryptedTransport connect(self, bytes protocols)
    cdef int tell(self, str server, str reason) except -1
