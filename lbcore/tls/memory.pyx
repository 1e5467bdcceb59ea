"""A TLS client in memory, for code outside the data plane: the caller moves the bytes.

It uses the same Target as the connections of the data plane, so a health check trusts the same servers as they do.
"""

cimport cython

from lbcore.tls.connector cimport Target, connect
from lbcore.tls.openssl cimport *

cdef enum:
    READ_BYTES = 65536


class HandshakeError(OSError):
    """A TLS handshake or connection failed; the text is the reason."""


@cython.final
cdef class MemoryEnd:
    """A client end whose bytes the caller moves. `protocols`: the ALPN offer in wire format; empty: no offer."""

    def __cinit__(self, Target target, bytes protocols=b""):
        self.end = connect(target, protocols or None)
        self.incoming = BIO_new(BIO_s_mem())
        self.outgoing = BIO_new(BIO_s_mem())
        if self.incoming == NULL or self.outgoing == NULL:
            BIO_free(self.incoming)
            BIO_free(self.outgoing)
            raise MemoryError
        SSL_set_bio(self.end.ssl, self.incoming, self.outgoing)

    cdef bint settle(self, int result) except -1:
        """After a call without a result: 1 if bytes of the server are missing, 0 if the server closed. Raises HandshakeError."""
        cdef int error = SSL_get_error(self.end.ssl, result)
        if error == SSL_ERROR_WANT_READ or error == SSL_ERROR_WANT_WRITE:
            ERR_clear_error()
            return True
        if error == SSL_ERROR_ZERO_RETURN:
            ERR_clear_error()
            return False
        raise HandshakeError(self.end.failure())

    def feed(self, bytes data) -> None:
        """Add bytes that the server has sent. Raises MemoryError."""
        cdef size_t written = 0
        if data and BIO_write_ex(self.incoming, <const char*>data, len(data), &written) != 1:
            raise MemoryError

    def take(self) -> bytes:
        """Remove and return the bytes to send to the server."""
        cdef size_t waiting = BIO_ctrl_pending(self.outgoing)
        cdef size_t got = 0
        cdef bytes data = bytes(waiting)
        if waiting and BIO_read_ex(self.outgoing, <char*>data, waiting, &got) != 1:
            raise MemoryError
        return data

    def shake_hands(self) -> bool:
        """Continue the handshake. Returns whether it is complete. Raises HandshakeError."""
        cdef int result = SSL_do_handshake(self.end.ssl)
        if result != 1:
            if not self.settle(result):
                raise HandshakeError("the connection ended")
            return False
        wrong = self.end.check()
        if wrong is not None:
            raise HandshakeError(wrong)
        return True

    def protocol(self) -> bytes:
        """The protocol that ALPN selected; empty: none."""
        cdef const unsigned char* protocol = NULL
        cdef unsigned int length = 0
        SSL_get0_alpn_selected(self.end.ssl, &protocol, &length)
        return protocol[:length]

    def finish(self) -> None:
        """Add close_notify to the bytes that `take` returns."""
        SSL_shutdown(self.end.ssl)
        ERR_clear_error()

    def read(self) -> object:
        """Decrypted bytes; empty: the server closed; None: bytes of the server are missing. Raises HandshakeError."""
        cdef char into[READ_BYTES]
        cdef size_t got = 0
        cdef int result = SSL_read_ex(self.end.ssl, into, READ_BYTES, &got)
        if result == 1:
            return into[:got]
        return None if self.settle(result) else b""

    def write(self, bytes data) -> None:
        """Encrypt bytes for the server; `take` returns them. Raises HandshakeError."""
        cdef size_t written = 0
        cdef int result
        if data:
            result = SSL_write_ex(self.end.ssl, <const char*>data, len(data), &written)
            if result != 1:
                self.settle(result)
                raise HandshakeError("nothing can be written")
