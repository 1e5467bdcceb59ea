"""What encrypted connections are accepted and made with, whatever library does it: it is loaded where it is configured."""

import logging
import time

from lbcore.http.buffer cimport Buffer
from lbcore.transport.socket cimport IO_FAILED, Socket, Transport

TELL_S = 10.0                  # a server whose handshakes fail is told of once in this time

_log = logging.getLogger("lbcore.transport")


cdef class EncryptedTransport(Transport):
    """One connection. It refers to its socket only while it is called."""

    cdef int handshake(self, Socket socket) noexcept:
        """Go on with the handshake. 0: done. IO_AGAIN: an event will tell when to go on. IO_FAILED: `failure` says why."""
        return IO_FAILED

    cdef str failure(self):
        """Why the handshake failed, in a few words that name no secret."""
        return ""


cdef class Encryption:
    """Of one entry point. Immutable: another configuration has another one, and connections end on the one they began with."""

    cdef EncryptedTransport accept(self, Buffer* received):
        """A transport for a client that has sent these bytes, which it takes over. Raises MemoryError, with nothing taken."""
        raise NotImplementedError


cdef class ServerEncryption:
    """Of one server. Its settings are immutable: other ones make another server."""

    cdef EncryptedTransport connect(self, bytes protocols):
        """A transport whose handshake offers these protocols (ALPN, as on the wire; None: no ALPN). Raises MemoryError."""
        raise NotImplementedError

    cdef int tell(self, str server, str reason) except -1:
        """Log why a handshake failed: each of them would fill the disk while a server's certificate is wrong."""
        cdef double now = time.monotonic()
        self.untold += 1
        if self.told_s and now - self.told_s < TELL_S:
            return 0
        before = f" ({self.untold - 1} times more since the last line)" if self.untold > 1 else ""
        self.told_s, self.untold = now, 0
        _log.warning("server %s: the TLS handshake failed: %s%s", server, reason, before)
        return 0
