"""A connection over TLS for a question to a server, by the settings that the data plane has for it."""

from __future__ import annotations

import asyncio

from lbcore.tls.connector import Target
from lbcore.tls.memory import HandshakeError, MemoryEnd

PIECE_BYTES = 16384


class SecureStream:
    """Bytes both ways, as a reader and as a writer. Made by `open_secure`."""

    def __init__(self, end: MemoryEnd, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._end = end
        self._reader = reader
        self._writer = writer

    async def shake_hands(self) -> None:
        """Raises HandshakeError."""
        try:
            while not self._end.shake_hands():
                await self._exchange("the server closed during the handshake")
        finally:
            self._writer.write(self._end.take())  # the rest of it, or an alert

    async def read(self, limit: int = PIECE_BYTES) -> bytes:
        """What the server has said; empty: it has ended. Raises HandshakeError for what breaks TLS."""
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
        """Send something."""
        self._end.write(data)
        self._writer.write(self._end.take())

    def close(self) -> None:
        """Close, with the end of TLS said."""
        self._end.finish()
        self._writer.write(self._end.take())
        self._writer.close()


async def open_secure(
    target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocols: bytes = b""
) -> SecureStream:
    """TLS over a new connection. Raises HandshakeError; the connection stays the caller's then."""
    stream = SecureStream(MemoryEnd(target, protocols), reader, writer)
    await stream.shake_hands()
    return stream
