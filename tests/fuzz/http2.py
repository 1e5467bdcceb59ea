"""HTTP/2 in a hostile world: connections of drawn frames, most of them sound, in every order."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable

import hpack

from tests.support.http2 import PREFACE
from tests.support.http2 import raw_frame as frame

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
SETTING_VALUES = [0, 1, 100, 4096, 16384, 65535, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
BAD_FIELDS = [
    (b"Upper", b"case"),
    (b"connection", b"close"),
    (b"te", b"gzip"),
    (b":late", b"pseudo"),
    (b"a\nb", b"c"),
    (b"a", b"b\r\nc: d"),
    (b"transfer-encoding", b"chunked"),
    (b"content-length", b"7"),
    (b"content-length", b"-1"),
    (b"", b""),
]


class Http2Client:
    """Has one connection after another speak HTTP/2. `body` is what bodies are made of."""

    def __init__(self, draw: random.Random, body: bytes) -> None:
        self.draw = draw
        self.body = body

    def run(self, sock: socket.socket, token: bytes) -> None:
        """Raises OSError."""
        connection = Http2Connection(self.draw, token, self.body)
        draw, data = self.draw, connection.everything()
        if draw.random() < 0.1:
            data = data[: draw.randrange(len(data))]
        if draw.random() < 0.1:
            slow, data = data[:300], data[300:]
            for at in range(0, len(slow), 5):
                sock.sendall(slow[at : at + 5])
        sock.sendall(data)
        end = draw.random()
        if end < 0.1:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if end < 0.2:
            return
        if end < 0.3:
            sock.shutdown(socket.SHUT_WR)
        if end < 0.35:
            time.sleep(0.2)  # reads nothing for a while
        sock.settimeout(draw.choice([0.05, 0.3, 1]))
        while sock.recv(65536):
            if draw.random() < 0.3:
                sock.sendall(connection.one())
            if draw.random() < 0.02:
                return


class Http2Connection:
    """What is said on one."""

    def __init__(self, draw: random.Random, token: bytes, body: bytes) -> None:
        self.draw = draw
        self.token = token
        self.body = body
        self.encoder = hpack.Encoder()
        self.next_id = 1
        self.open: list[int] = []
        self.sound = draw.random() < 0.5  # nothing on such a connection gives a reason to end it
        kinds: list[tuple[int, Callable[[], bytes]]] = [
            *((10, self.request), (5, self.data), (2, self.cancel), (3, self.window), (1, self.ping)),
            *((1, self.settings), (1, self.acknowledge), (1, self.headers_again), (1, self.junk), (1, self.unknown)),
            *((1, self.broken_block), (1, self.of_wrong_size), (1, self.priority), (1, self.goodbye)),
            (1, self.out_of_order),
        ]
        if self.sound:
            kinds = kinds[:5]
        self.kinds = [kind for _, kind in kinds]
        self.weights = [weight for weight, _ in kinds]

    def everything(self) -> bytes:
        draw = self.draw
        bad = draw.choice([PREFACE[:10], PREFACE + b"x", PREFACE * 2])
        preface = PREFACE if self.sound or draw.random() < 0.95 else bad
        first = frame(SETTINGS, 0, 0, b"") if self.sound or draw.random() < 0.5 else self.settings()
        count = draw.choice([1, 2, 5, 30, 200] if draw.random() < 0.3 else [1, 2, 5])
        return preface + first + self.request() + b"".join(self.one() for _ in range(count))

    def one(self) -> bytes:
        (kind,) = self.draw.choices(self.kinds, self.weights)
        return kind()

    def any_stream(self) -> int:
        """One that is open, most of the time; at times one that has ended, was never opened, or is no client's."""
        if self.sound and not self.open:
            return max(1, self.next_id - 2)
        if self.sound or (self.open and self.draw.random() < 0.8):
            return self.draw.choice(self.open)
        return self.draw.choice([0, 1, 2, max(1, self.next_id - 2), self.next_id, self.next_id + 1000, (1 << 31) - 1])

    def request(self) -> bytes:
        draw, token = self.draw, self.token
        method = draw.choice([b"GET", b"GET", b"POST", b"HEAD", b"OPTIONS"] + [b"CONNECT"] * (not self.sound))
        path = draw.choice([b"/", b"/a/", b"/s/", b"/w/", b"/t/", b"/" + b"d" * 3000]) + token
        fields = [(b":method", method), (b":path", path), (b":scheme", draw.choice([b"http", b"https"]))]
        fields.append((b":authority", token + b".test"))
        for _ in range(draw.choice([0, 1, 3, 3, 40])):
            fields.append((draw.choice([b"x-a", b"cookie", b"referer", b"x-forwarded-for", b"user-agent"]), token))
        if b"/w/" in path and draw.random() < 0.7:
            fields.append((b"x-step", b"one=" + draw.choice([b"wait", b"answer", b"late-answer"])))
        if not self.sound:
            if draw.random() < 0.1:
                fields.append(draw.choice(BAD_FIELDS))
            if draw.random() < 0.05:
                fields.remove(draw.choice(fields[:4]))
            if draw.random() < 0.05:
                draw.shuffle(fields)
        stream, self.next_id = self.next_id, self.next_id + draw.choice([2, 2, 2, 2, 20])
        ends = draw.random() < (0.3 if method == b"POST" else 0.9)
        if not ends:
            self.open.append(stream)
        return self.head(stream, self.encoder.encode(fields), ends)

    def head(self, stream: int, block: bytes, ends: bool) -> bytes:
        """HEADERS, with padding, a priority and CONTINUATION at times."""
        draw, flags = self.draw, END_STREAM if ends else 0
        before, after = b"", b""
        if not self.sound and draw.random() < 0.1:
            flags |= PADDED
            after = bytes(draw.choice([0, 1, 200]))
            before = bytes([draw.choice([len(after), len(after), 255])])
        if not self.sound and draw.random() < 0.1:
            flags |= WITH_PRIORITY
            before += struct.pack("!IB", draw.choice([0, stream, 1 << 31]), 16)
        if draw.random() < 0.8 and len(block) < 16000:
            return frame(HEADERS, flags | END_HEADERS, stream, before + block + after)
        step = draw.choice([1, 20, 1000]) if len(block) < 1000 else 1000
        pieces = [block[at : at + step] for at in range(0, len(block), step)]
        told = frame(HEADERS, flags, stream, before + pieces[0] + after)
        for piece in pieces[1:]:
            told += frame(CONTINUATION, 0, stream, piece)
        ends = self.sound or draw.random() < 0.9
        return told + (frame(CONTINUATION, END_HEADERS, stream, b"") if ends else b"")

    def headers_again(self) -> bytes:
        """Trailers, or what is none."""
        return self.head(self.any_stream(), self.encoder.encode([(b"x-t", self.body)]), self.draw.random() < 0.8)

    def data(self) -> bytes:
        draw = self.draw
        if self.sound and not self.open:
            return self.request()
        stream, size = self.any_stream(), draw.choice([0, 1, 100, 5000] + [16384, 16384, 20000] * (not self.sound))
        payload = (self.body * (size // len(self.body) + 1))[:size]
        ends = draw.random() < 0.3
        if ends and stream in self.open:
            self.open.remove(stream)
        if not self.sound and draw.random() < 0.1:
            return frame(DATA, PADDED | ends, stream, bytes([draw.choice([0, 5, 255])]) + payload)
        return frame(DATA, int(ends), stream, payload)

    def cancel(self) -> bytes:
        stream = self.any_stream()
        with contextlib.suppress(ValueError):
            self.open.remove(stream)
        return frame(RST_STREAM, 0, stream, struct.pack("!I", self.draw.randrange(16)))

    def window(self) -> bytes:
        more = self.draw.choice([1, 100, 65535, 1 << 20] + [0, (1 << 31) - 1] * (not self.sound))
        return frame(WINDOW_UPDATE, 0, self.draw.choice([0, self.any_stream()]), struct.pack("!I", more))

    def ping(self) -> bytes:
        return frame(PING, self.draw.choice([0, ACK]), 0, bytes(8)) * self.draw.choice([1, 1, 50])

    def settings(self) -> bytes:
        draw = self.draw
        values = [(draw.randrange(8), draw.choice(SETTING_VALUES[:6])) for _ in range(draw.randrange(4))]
        if draw.random() < 0.1:
            values.append((draw.randrange(8), draw.choice(SETTING_VALUES)))
        return frame(SETTINGS, 0, 0, b"".join(struct.pack("!HI", *value) for value in values))

    def acknowledge(self) -> bytes:
        return frame(SETTINGS, ACK, 0, b"")

    def junk(self) -> bytes:
        return bytes(self.draw.choices(range(256), k=self.draw.choice([3, 9, 100])))

    def broken_block(self) -> bytes:
        """HPACK: indices out of the table, changes of its size, strings that end nowhere."""
        draw = self.draw
        index, size, length = b"\xff\xff\xff\xff\xff\x0f", b"\x3f\xe1\xff\x03", b"\x00\x7f\xff\xff\xff\x07"
        block = draw.choice([index, size, length, b"\x20", b"\x40"])
        block += bytes(draw.choices(range(256), k=draw.choice([0, 5, 60])))
        return self.head(self.next_id, block, True)

    def of_wrong_size(self) -> bytes:
        kind = self.draw.choice([PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE])
        return frame(kind, 0, self.draw.choice([0, self.any_stream()]), bytes(self.draw.choice([0, 3, 7, 13])))

    def unknown(self) -> bytes:
        return frame(self.draw.randrange(10, 256), self.draw.randrange(256), self.any_stream(), self.junk())

    def priority(self) -> bytes:
        stream = self.any_stream()
        return frame(PRIORITY, 0, stream, struct.pack("!IB", self.draw.choice([0, stream, 3]), 255))

    def goodbye(self) -> bytes:
        return frame(GOAWAY, 0, 0, struct.pack("!II", self.draw.choice([0, 1, (1 << 31) - 1]), self.draw.randrange(16)))

    def out_of_order(self) -> bytes:
        """What only a server says, or what stands in the wrong place."""
        draw = self.draw
        block = self.encoder.encode([(b"x-a", self.token)])
        return draw.choice(
            [
                frame(PUSH_PROMISE, END_HEADERS, self.any_stream(), struct.pack("!I", 2) + block),
                frame(CONTINUATION, END_HEADERS, self.any_stream(), block),
                frame(HEADERS, 0, self.next_id, block) + frame(PING, 0, 0, bytes(8)),
                PREFACE,
                frame(DATA, 0, 0, b"x"),
            ]
        )
