"""What a probe reads from and writes to: a connection to a server, with TLS or not."""

from __future__ import annotations

from typing import Protocol


class Reader(Protocol):
    async def read(self, limit: int) -> bytes:
        """At most `limit` bytes; none at the end."""


class Writer(Protocol):
    def write(self, data: bytes) -> None:
        """Send."""

    def close(self) -> None:
        """Close at once."""
