"""A server of HTTP/2 that takes its limit of concurrent streams literally, and refuses requests when it is told to."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support.http2 import PREFACE

NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM = 0, 1, 7
LIMIT = SettingsFrame.MAX_CONCURRENT_STREAMS


def told(method: str, path: str, body: bytes) -> bytes:
    """The answer's body, which shows what has come."""
    return f"{method} {path} {len(body)} {zlib.crc32(body)}".encode()


@dataclass
class Asked:
    """A request that a connection has got."""

    fields: dict[str, str]
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)


class StrictConnection:
    """`limit`: the one in force, which the client has acknowledged or not; None: there is none."""

    def __init__(self, server: StrictServer, sock: socket.socket) -> None:
        self.server, self.sock = server, sock
        self.lock = threading.RLock()
        self.limit: int | None = 0
        self.unacknowledged = 0
        self.open: dict[int, Asked] = {}
        self.resets: list[tuple[int, int]] = []  # streams that the client has ended, and why
        self.last = 0
        self.gone = self.spoke = self.owes_ack = False
        self.decoder, self.encoder = hpack.Decoder(), hpack.Encoder()
        self._rest = b""
        self._block = b""

    # What the server says

    def send(self, *frames: Frame) -> None:
        with self.lock, contextlib.suppress(OSError):
            self.sock.sendall(b"".join(frame.serialize() for frame in frames))

    def allow(self, limit: int | None) -> None:
        """Say how many streams may be open. None: SETTINGS without a limit, which is none if they are the first."""
        with self.lock:
            self.limit = limit
            self.unacknowledged += 1
            self.spoke = True
            self.send(SettingsFrame(0, settings={} if limit is None else {LIMIT: limit}))
            self.acknowledge()

    def acknowledge(self) -> None:
        """The client's SETTINGS; the first frame of a server has its own."""
        if self.owes_ack and self.spoke:
            self.owes_ack = False
            self.send(SettingsFrame(0, flags=["ACK"]))

    def go_away(self, last: int) -> None:
        """No stream above `last` was or will be looked at."""
        with self.lock:
            self.gone = True
            for stream in [stream for stream in self.open if stream > last]:
                del self.open[stream]
            self.send(GoAwayFrame(0, last_stream_id=last))

    def refuse(self, stream: int, code: int = REFUSED_STREAM) -> None:
        with self.lock:
            if self.open.pop(stream, None) is not None:
                self.send(RstStreamFrame(stream, error_code=code))

    def answer(self, stream: int) -> None:
        with self.lock:
            asked = self.open.pop(stream, None)
            if asked is None:
                return
            self.server.answered.append(asked)
            body = told(asked.fields[":method"], asked.fields[":path"], asked.body)
            block = self.encoder.encode([(":status", "200"), ("content-length", str(len(body)))])
            head = HeadersFrame(stream, block, flags=["END_HEADERS"])
            self.send(head, DataFrame(stream, body, flags=["END_STREAM"]))

    # What the client says

    def serve(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            assert self._exactly(len(PREFACE)) == PREFACE
            if self.server.opens is not None:
                self.server.opens(self)
            else:
                self.allow(self.server.limit)
            while True:
                self.take()
        self.sock.close()

    def take(self) -> None:
        head = self._exactly(9)
        frame, length = Frame.parse_frame_header(memoryview(head))
        frame.parse_body(memoryview(self._exactly(length)))
        with self.lock:
            ended = "END_STREAM" in frame.flags
            if isinstance(frame, HeadersFrame | ContinuationFrame):
                self._block += frame.data
                if "END_HEADERS" not in frame.flags:
                    return
                fields = dict(self.decoder.decode(self._block))
                self._block = b""
                if frame.stream_id not in self.open:
                    self.begin(frame.stream_id, fields)  # type: ignore[arg-type]
                else:
                    self.open[frame.stream_id].trailers = fields  # type: ignore[assignment]
            elif isinstance(frame, DataFrame):
                if frame.stream_id in self.open:
                    self.open[frame.stream_id].body += frame.data
                if length:
                    self.send(WindowUpdateFrame(0, window_increment=length))
                    if not ended and frame.stream_id in self.open:
                        self.send(WindowUpdateFrame(frame.stream_id, window_increment=length))
            elif isinstance(frame, RstStreamFrame):
                self.open.pop(frame.stream_id, None)
                self.resets.append((frame.stream_id, frame.error_code))
            elif isinstance(frame, SettingsFrame):
                if "ACK" in frame.flags:
                    self.unacknowledged -= 1
                else:
                    self.owes_ack = True
                    self.acknowledge()
            elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
                self.send(PingFrame(0, opaque_data=frame.opaque_data, flags=["ACK"]))
            if ended and frame.stream_id in self.open:
                self.server.complete(self, frame.stream_id)

    def begin(self, stream: int, fields: dict[str, str]) -> None:
        self.last = stream
        if self.gone:
            return
        self.open[stream] = Asked(fields)
        self.server.most_open = max(self.server.most_open, len(self.open))
        if self.limit is not None and len(self.open) > self.limit:
            self.server.exceeded += not self.unacknowledged
            self.refuse(stream, REFUSED_STREAM if self.unacknowledged else PROTOCOL_ERROR)

    def _exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            piece = self.sock.recv(1 << 16)
            if not piece:
                raise EOFError
            self._rest += piece
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken


class StrictServer:
    """`limit`: in the first SETTINGS. `opens`: called instead.

    `complete`: called with each whole request.
    """

    def __init__(
        self,
        limit: int | None = None,
        *,
        opens: Callable[[StrictConnection], None] | None = None,
        complete: Callable[[StrictConnection, int], None] | None = None,
    ) -> None:
        self.limit, self.opens = limit, opens
        self.complete = complete or (lambda connection, stream: self.later(connection, stream))
        self.connections: list[StrictConnection] = []
        self.answered: list[Asked] = []
        self.exceeded = 0  # streams beyond a limit that the client had acknowledged
        self.most_open = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"h2c://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    @staticmethod
    def later(connection: StrictConnection, stream: int) -> None:
        """Answer a little later, so that requests are under way at the same time."""
        threading.Timer(0.005, connection.answer, (stream,)).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = StrictConnection(self, sock)
                self.connections.append(connection)
                threading.Thread(target=connection.serve, daemon=True).start()

    def close(self) -> None:
        self.listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sock.shutdown(socket.SHUT_RDWR)
