"""The channel between the supervisor and one worker: length-prefixed JSON messages over a Unix socket pair."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

VERSION = 1
MAX_BYTES = 256 << 20  # limit of a message; 10,000 routers with 65,536 servers need less than a tenth of it
CHUNK_BYTES = 1 << 18
_PREFIX = struct.Struct("!BI")  # version, length of the JSON text that follows

Message = dict[str, Any]


class ControlError(Exception):
    """The peer has sent something that is no message of this version."""


def encode(message: Message) -> bytes:
    """The bytes of one message. Raises ControlError if it is too long."""
    text = json.dumps(message, separators=(",", ":")).encode()
    if len(text) > MAX_BYTES:
        raise ControlError(f"a {message.get('type')} message of {len(text)} bytes is over the limit of {MAX_BYTES}")
    return _PREFIX.pack(VERSION, len(text)) + text


class Decoder:
    """Turns bytes in pieces of any size into messages. No I/O."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that are complete now. Raises ControlError at invalid bytes, after the ones in front."""
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= _PREFIX.size:
                version, length = _PREFIX.unpack_from(self._buffer, start)
                if version != VERSION:
                    raise ControlError(f"control message of version {version}, this build speaks {VERSION}")
                if length > MAX_BYTES:
                    raise ControlError(f"control message of {length} bytes is over the limit of {MAX_BYTES}")
                end = start + _PREFIX.size + length
                if len(self._buffer) < end:
                    break
                try:
                    message = json.loads(self._buffer[start + _PREFIX.size : end])
                except ValueError as error:
                    raise ControlError(f"control message is not JSON: {error}") from None
                if not isinstance(message, dict) or not isinstance(message.get("type"), str):
                    raise ControlError("control message without a type")
                start = end
                yield message
        finally:
            del self._buffer[:start]


class Channel:
    """One end of the socket pair. Sending never waits: messages that the peer has not read yet are queued in order."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._queue: deque[memoryview] = deque()
        self._latest: dict[str, memoryview] = {}  # the last message of each kind that `send_latest` has queued
        self._taken = asyncio.Event()  # nothing is queued
        self._taken.set()
        self._readable: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def queued_bytes(self) -> int:
        """Bytes that the peer has not taken yet."""
        return sum(len(part) for part in self._queue)

    def send(self, message: Message) -> None:
        """Queue a message and write as much as possible. If the peer has gone, that is no error: `messages` ends."""
        self.send_encoded(encode(message))

    def send_encoded(self, data: bytes) -> None:
        """`send` for bytes of `encode`, so that one message to many workers is encoded once."""
        self._add(memoryview(data))

    def send_latest(self, kind: str, data: bytes) -> None:
        """`send_encoded` of what makes earlier messages of this kind void: it takes the place of one of which the peer
        has taken nothing, so that one of them waits for a peer that does not read, and not all."""
        part, before = memoryview(data), self._latest.get(kind)
        for place, queued in enumerate(self._queue):
            if queued is before:
                self._queue[place] = self._latest[kind] = part
                return
        self._latest[kind] = part
        self._add(part)

    def _add(self, part: memoryview) -> None:
        if self._closed:
            return
        idle = not self._queue
        self._queue.append(part)
        if idle:
            self._taken.clear()
            self._flush()

    def _flush(self) -> None:
        try:
            while self._queue:
                sent = self._sock.send(self._queue[0])
                if sent == len(self._queue[0]):
                    self._queue.popleft()
                else:
                    self._queue[0] = self._queue[0][sent:]
        except BlockingIOError:
            self._loop.add_writer(self._sock.fileno(), self._flush)
            return
        except OSError:
            self._queue.clear()
        self._latest.clear()
        self._loop.remove_writer(self._sock.fileno())
        self._taken.set()

    async def flushed(self) -> None:
        """Wait until the peer has taken everything, or has gone."""
        await self._taken.wait()

    async def messages(self) -> AsyncIterator[Message]:
        """Messages as they arrive, until either end is closed. Raises ControlError for invalid bytes."""
        decoder = Decoder()
        while not self._closed:
            try:
                data = self._sock.recv(CHUNK_BYTES)
            except BlockingIOError:
                await self._wait_readable()
                continue
            except ConnectionError:
                return
            if not data:
                return
            for message in decoder.feed(data):
                yield message

    async def _wait_readable(self) -> None:
        readable = self._readable = self._loop.create_future()
        self._loop.add_reader(self._sock.fileno(), self._wake)
        try:
            await readable
        finally:
            self._readable = None
            if not self._closed:
                self._loop.remove_reader(self._sock.fileno())

    def _wake(self) -> None:
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    def close(self) -> None:
        """Close this end; queued messages are dropped."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._wake()
        self._queue.clear()
        self._latest.clear()
        self._taken.set()
        self._sock.close()
