"""The interface of encryption, independent of the library, which is loaded only if TLS is configured."""

import logging
import time

from lbcore.http.buffer cimport Buffer
from lbcore.state.layout cimport HANDSHAKE_CLOSED
from lbcore.transport.socket cimport IO_FAILED, Socket, Transport

LOG_EVERY_S = 10.0             # failed handshakes of a server are logged once in this time

_log = logging.getLogger("lbcore.transport")


cdef class EncryptedTransport(Transport):
    """One connection. It refers to its socket only while it is called."""

    cdef int handshake(self, Socket socket) noexcept:
        """Continue the handshake. 0: done. IO_AGAIN: call again at the next event. IO_FAILED: `failure` says why."""
        return IO_FAILED

    cdef str failure(self):
        """The reason of a failed handshake, in a few words without secrets."""
        return ""

    cdef int cause(self) noexcept:
        """The kind of that failure, a HandshakeCause."""
        return HANDSHAKE_CLOSED

    cdef bint holds_under(self, Encryption encryption) noexcept:
        """Whether a client has shown the certificate that the encryption in force now asks for. None: there is none."""
        return True


cdef class Encryption:
    """The encryption of one entry point. Immutable: a new configuration makes a new one; connections keep the one of their start."""

    cdef EncryptedTransport accept(self, Buffer* received, bytes address):
        """A transport for a client that has sent these bytes, which it takes over. Raises MemoryError, with nothing taken."""
        raise NotImplementedError


cdef class ServerEncryption:
    """The encryption of one server. Its settings are immutable: other settings make another server."""

    cdef EncryptedTransport connect(self, bytes protocols):
        """A transport whose handshake offers these protocols (ALPN, as on the wire; None: no ALPN). Raises MemoryError."""
        raise NotImplementedError

    cdef int log(self, str server, str reason) except -1:
        """Log the reason of a failed handshake, but not of each one: that would fill the disk while a certificate is wrong."""
        cdef double now = time.monotonic()
        self.unlogged += 1
        if self.logged_s and now - self.logged_s < LOG_EVERY_S:
            return 0
        before = f" ({self.unlogged - 1} times more since the last line)" if self.unlogged > 1 else ""
        self.logged_s, self.unlogged = now, 0
        _log.warning("server %s: the TLS handshake failed: %s%s", server, reason, before)
        return 0
