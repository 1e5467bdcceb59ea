"""TLS clients: contexts that accept any certificate, and a client whose records a test moves itself."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
from typing import Any

from tests.support.certificates import Files


def trusting(client: Files | None = None, **settings: Any) -> ssl.SSLContext:
    """A context that takes every certificate; `client` is its own, `settings` are attributes of the context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, value in settings.items():
        setattr(context, name, value)
    if client is not None:
        context.load_cert_chain(client.certificate, client.key)
    return context


class Records:
    """TLS over a socket; what it encrypts gathers in `outgoing` until `push` sends it."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, name: str | None = "a.test") -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)

    def push(self, step: int = 1 << 20) -> None:
        """Send what is encrypted, in pieces."""
        data = self.outgoing.read()
        for at in range(0, len(data), step):
            self.sock.sendall(data[at : at + step])

    def pull(self) -> bool:
        """Receive once. False: the connection has ended."""
        data = self.sock.recv(65536)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()
        return bool(data)

    def shake_hands(self, step: int = 1 << 20) -> None:
        """Raises ssl.SSLError."""
        while not self.goes_on():
            self.push(step)
            self.pull()
        self.push(step)

    def goes_on(self) -> bool:
        """Whether the handshake is done with what has come."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
            return True
        return False

    def send(self, data: bytes, step: int = 1 << 20) -> None:
        self.tls.write(data)
        self.push(step)

    def until(self, end: bytes) -> bytes:
        """What comes, up to where `end` has come. Raises EOFError."""
        got = b""
        while end not in got:
            try:
                got += self.tls.read(65536)
            except ssl.SSLWantReadError:
                if not self.pull():
                    raise EOFError(got) from None
        return got


def handshakes() -> int:
    """Connections of this process that hold something of OpenSSL's for lbcore."""
    return sum(1 for thing in gc.get_objects() if type(thing).__name__ in ("Handshake", "TlsTransport"))
