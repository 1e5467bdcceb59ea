"""The wire of Redis (RESP 2): commands, and replies as they come in pieces. No I/O.

Written here, and not taken from a client library, because each request of a limit goes through it: redis-py takes a
connection for each command alone, and more than three times the CPU (`python -m bench.store`).
"""

from __future__ import annotations

from collections.abc import Iterator

MOST_BYTES = 1 << 16  # of a reply; what lbcore asks for has short ones
MOST_DEPTH = 4  # of arrays in arrays


class Refusal(str):
    """An error that the server has replied: `NOSCRIPT No matching script.`"""

    __slots__ = ()


Reply = int | bytes | Refusal | list["Reply"] | None


def command(*parts: bytes) -> bytes:
    """A command as it goes over the wire."""
    return b"".join([b"*%d\r\n" % len(parts), *[b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]])


class Replies:
    """Replies in the order in which they come."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._rest = b""
        self._most_bytes = most_bytes

    def feed(self, data: bytes) -> Iterator[Reply]:
        """The replies that are complete. Raises ValueError for what is none."""
        data = self._rest + data if self._rest else data
        at = 0
        while at < len(data):
            try:
                reply, at = _reply(data, at, 0, self._most_bytes)
            except _Incomplete:
                break
            yield reply
        self._rest = data[at:] if at else data
        if len(self._rest) > self._most_bytes:
            raise ValueError("a reply is too long")


class _Incomplete(Exception):
    """More bytes have to come."""


def _reply(data: bytes, at: int, depth: int, most_bytes: int) -> tuple[Reply, int]:
    """The reply that begins there, and where the next one does."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise _Incomplete
    kind, text, behind = data[at : at + 1], data[at + 1 : end], end + 2
    if kind == b":":
        return int(text), behind
    if kind == b"+":
        return text, behind
    if kind == b"-":
        return Refusal(text.decode("utf-8", "replace")), behind
    size = int(text)
    if kind == b"$":
        if size < 0:
            return None, behind
        if size > most_bytes:
            raise ValueError("a reply is too long")
        if len(data) < behind + size + 2:
            raise _Incomplete
        return data[behind : behind + size], behind + size + 2
    if kind != b"*" or depth == MOST_DEPTH or size > most_bytes:
        raise ValueError(f"{data[at : at + 20]!r} is no reply")
    found: list[Reply] = []
    for _ in range(size):
        item, behind = _reply(data, behind, depth + 1, most_bytes)
        found.append(item)
    return None if size < 0 else found, behind
