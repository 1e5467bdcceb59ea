"""TLS connections of probes, with the settings that the data plane has for the server."""

from __future__ import annotations

import asyncio

from lbcore.tls.connector import Target
from lbcore.tls.memory import HandshakeError, MemoryEnd

PIECE_BYTES = 16384


class SecureStream:
    """A TLS connection as a reader and a writer. `open_secure` makes it."""

    def __init__(self, end: MemoryEnd, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._end = end
        self._reader = reader
        self._writer = writer

    async def shake_hands(self) -> None:
        """Do the handshake. Raises HandshakeError."""
        try:
            while not self._end.shake_hands():
                await self._exchange("the server closed during the handshake")
        finally:
            self._writer.write(self._end.take())  # the rest of the handshake, or an alert

    async def read(self, limit: int = PIECE_BYTES) -> bytes:
        """Bytes from the server; empty at the end. Raises HandshakeError if the TLS stream is invalid."""
        while (data := self._end.read()) is None:
            await self._exchange("the server closed without the end of TLS")
        return data

    async def _exchange(self, ended: str) -> None:
        self._writer.write(self._end.take())
        piece = await self._reader.read(PIECE_BYTES)
        if not piece:
            raise HandshakeError(ended)
        self._end.feed(piece)

    def write(self, data: bytes) -> None:
        """Encrypt and send bytes."""
        self._end.write(data)
        self._writer.write(self._end.take())

    def close(self) -> None:
        """Send close_notify and close."""
        self._end.finish()
        self._writer.write(self._end.take())
        self._writer.close()


async def open_secure(
    target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocols: bytes = b""
) -> SecureStream:
    """TLS over a new connection. Raises HandshakeError; the caller then still owns the connection."""
    stream = SecureStream(MemoryEnd(target, protocols), reader, writer)
    await stream.shake_hands()
    return stream
