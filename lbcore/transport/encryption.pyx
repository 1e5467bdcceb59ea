"""What an entry point accepts encrypted connections with, whatever library does it: it is loaded where it is configured."""

from lbcore.http.buffer cimport Buffer
from lbcore.transport.socket cimport IO_FAILED, Socket, Transport


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
