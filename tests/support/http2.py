"""An HTTP/2 client that sends exactly the given frames, valid or not, and keeps the answers."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import hpack
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support.wire import TIMEOUT_S

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Fields = Iterable[tuple[str | bytes, str | bytes]]


@dataclass
class Answer:
    """What has come on a stream. `reset`: the code of a RST_STREAM."""

    heads: list[list[tuple[str, str]]] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def head(self) -> dict[str, str]:
        """The final head."""
        return dict(next(head for head in self.heads if not head[0][1].startswith("1")))

    @property
    def status(self) -> int:
        return int(self.head[":status"])

    @property
    def trailers(self) -> dict[str, str]:
        return dict(self.heads[-1]) if ":status" not in dict(self.heads[-1]) else {}


class Http2Client:
    """`window`: of every stream and the connection, from the start; what comes is given back, unless `reads` is off."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        window: int = 1 << 20,
        settings: dict[int, int] | None = None,
        preface: bytes = PREFACE,
    ) -> None:
        sock.settimeout(TIMEOUT_S)
        self.sock = sock
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.decoder.max_allowed_table_size = 1 << 16
        self.answers: dict[int, Answer] = {}
        self.settings: dict[int, int] = {}
        self.goaways: list[GoAwayFrame] = []
        self.pongs: list[bytes] = []
        self.reads = True
        self.closed = False
        self.next_id = 1
        self._rest = b""
        self._block = b""
        self.windows = {0: 65535}  # what may be sent, on each stream that has a body
        self.raw(preface)
        self.frame(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: window, **(settings or {})}))
        if window > 65535:
            self.frame(WindowUpdateFrame(0, window_increment=window - 65535))

    # Sending

    def raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def frame(self, frame: Frame) -> None:
        self.raw(frame.serialize())

    def block(self, fields: Fields) -> bytes:
        return self.encoder.encode(list(fields))

    def headers(self, stream: int, fields: Fields, *, end: bool = True) -> None:
        frame = HeadersFrame(stream, self.block(fields), flags=["END_HEADERS"])
        if end:
            frame.flags.add("END_STREAM")
        self.frame(frame)

    def data(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self.frame(DataFrame(stream, data, flags=["END_STREAM"] if end else []))

    def upload(self, stream: int, body: bytes, *, end: bool = True) -> None:
        """A whole body, or a piece of one, as the windows allow."""
        self.until(lambda: self.settings)
        self.windows.setdefault(stream, self.settings[SettingsFrame.INITIAL_WINDOW_SIZE])
        while body:
            self.until(lambda: min(self.windows[0], self.windows[stream]) > 0)
            count = min(16384, len(body), self.windows[0], self.windows[stream])
            self.windows[0] -= count
            self.windows[stream] -= count
            self.data(stream, body[:count])
            body = body[count:]
        if end:
            self.data(stream, b"", end=True)

    def reset(self, stream: int, code: int = 8) -> None:
        self.frame(RstStreamFrame(stream, error_code=code))

    def open(self) -> int:
        """The id of the next stream."""
        self.next_id += 2
        return self.next_id - 2

    def send(self, method: str = "GET", path: str = "/", *more: tuple[str, str], body: bytes | None = None) -> int:
        """A request, with a body of one frame or none; its stream."""
        stream = self.open()
        self.headers(stream, request(method, path, *more), end=body is None)
        if body is not None:
            self.data(stream, body, end=True)
        return stream

    def ask(self, method: str = "GET", path: str = "/", *more: tuple[str, str], body: bytes | None = None) -> Answer:
        return self.answer(self.send(method, path, *more, body=body))

    # Receiving

    def until(self, done: Callable[[], object]) -> None:
        """Read frames until that is so. EOFError: the connection ended before."""
        while not done():
            self.step()

    def answer(self, stream: int) -> Answer:
        """The whole answer, or what had come when it was reset."""
        found = self.answers.setdefault(stream, Answer())
        self.until(lambda: found.ended or found.reset is not None)
        return found

    def head_of(self, stream: int) -> Answer:
        found = self.answers.setdefault(stream, Answer())
        self.until(lambda: found.heads or found.reset is not None)
        return found

    def to_the_end(self) -> None:
        """Read until the connection has ended."""
        try:
            while True:
                self.step()
        except (EOFError, ConnectionError):
            self.closed = True

    def ping(self, text: bytes = b"12345678") -> None:
        """Wait until everything that was sent before has been read by the other side."""
        count = len(self.pongs)
        self.frame(PingFrame(0, opaque_data=text))
        self.until(lambda: len(self.pongs) > count)

    def step(self) -> None:
        head = self._exactly(9)
        frame, length = Frame.parse_frame_header(memoryview(head))
        body = self._exactly(length)
        frame.parse_body(memoryview(body))
        answer = self.answers.setdefault(frame.stream_id, Answer()) if frame.stream_id else Answer()
        if isinstance(frame, HeadersFrame) or type(frame).__name__ == "ContinuationFrame":
            self._block += frame.data
            if "END_STREAM" in frame.flags:
                answer.ended = True
            if "END_HEADERS" in frame.flags:
                fields = self.decoder.decode(self._block)
                self._block = b""
                answer.heads.append([(text(name), text(value)) for name, value in fields])
        elif isinstance(frame, DataFrame):
            answer.body += frame.data
            answer.ended = answer.ended or "END_STREAM" in frame.flags
            if self.reads and length:
                self.frame(WindowUpdateFrame(0, window_increment=length))
                if not answer.ended:
                    self.frame(WindowUpdateFrame(frame.stream_id, window_increment=length))
        elif isinstance(frame, RstStreamFrame):
            answer.reset = frame.error_code
        elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.settings.update(frame.settings)
            self.frame(SettingsFrame(0, flags=["ACK"]))
        elif isinstance(frame, PingFrame):
            if "ACK" in frame.flags:
                self.pongs.append(frame.opaque_data)
            else:
                self.frame(PingFrame(0, opaque_data=frame.opaque_data, flags=["ACK"]))
        elif isinstance(frame, WindowUpdateFrame):
            if frame.stream_id in self.windows:
                self.windows[frame.stream_id] += frame.window_increment
        elif isinstance(frame, GoAwayFrame):
            self.goaways.append(frame)

    def _exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            piece = self.sock.recv(1 << 16)
            if not piece:
                raise EOFError(self._rest)
            self._rest += piece
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def close(self) -> None:
        self.sock.close()


def text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def request(method: str = "GET", path: str = "/", *more: tuple[str, str]) -> list[tuple[str, str]]:
    """The fields of a request; a pseudo-header in `more` takes the place of the usual one."""
    fields = {":method": method, ":scheme": "http", ":path": path, ":authority": "a.test"}
    fields |= {name: value for name, value in more if name in fields}
    return [*fields.items(), *((name, value) for name, value in more if name not in fields)]


def raw_frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """A frame that hyperframe would not write."""
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body
