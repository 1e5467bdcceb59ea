# TLS over OpenSSL, with a BIO of lbcore's own, which moves the bytes through the socket.


from lbcore.http.buffer cimport Buffer
from lbcore.tls.connector cimport Target
from lbcore.tls.end cimport End
from lbcore.tls.handshake cimport Acceptor
from lbcore.transport.encryption cimport EncryptedTransport, Encryption, ServerEncryption
from lbcore.transport.socket cimport Socket


cdef class TlsTransport(EncryptedTransport):
    cdef End session
    cdef Buffer received       # encrypted, not yet read by OpenSSL
    cdef Buffer outgoing       # encrypted, not yet sent
    cdef void* socket          # Socket, borrowed: set while a call of OpenSSL may read or write
    cdef Py_ssize_t held       # bytes of the caller that are encrypted in `outgoing`, and were not reported as taken yet
    cdef Py_ssize_t barren     # bytes received since the last one for the caller, or since the handshake
    cdef bint done             # the handshake is done
    cdef bint dry              # the descriptor has no bytes until an event announces more
    cdef bint out_of_turn      # the descriptor may have more, but other sockets have their turn first
    cdef bint end_of_file      # the descriptor has returned its last byte
    cdef bint ended            # the peer has sent its last byte
    cdef bint last             # what is sent next is followed by close_notify
    cdef bint finished         # close_notify was encrypted
    cdef bint shuts            # the sending side is shut when `outgoing` is sent
    cdef bint read_wants_room  # reading continues when there is room to send
    cdef bint ticket_waits     # of `outgoing`, for the first answer: it holds a session ticket and nothing else
    cdef bint deaf             # the peer takes nothing more; what it has sent before can still be read
    cdef bint failed           # no byte can be read or written any more
    cdef str reason            # of the failure
    cdef int reason_number     # as OpenSSL numbers it; above 1000: an alert of the peer; 0: it is none of OpenSSL's

    cdef bint is_open(self) noexcept
    cdef int flush(self, Socket socket) noexcept
    cdef bint is_1_3(self) noexcept
    cdef int settle(self, Socket socket, int result) noexcept
    cdef Py_ssize_t fail(self, Socket socket) noexcept
    cdef void finish(self, Socket socket) noexcept


cdef class TlsEncryption(Encryption):
    cdef Acceptor acceptor


cdef class TlsServerEncryption(ServerEncryption):
    cdef Target target
