"""A client of HTTP/3 over aioquic, in the test's own thread: what it sends and when is the test's choice."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aioquic.h3.connection import H3_ALPN, H3Connection, Setting
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, QuicEvent, StopSendingReceived, StreamReset
from aioquic.tls import SessionTicket

from tests.support.wire import TIMEOUT_S

Fields = list[tuple[bytes, bytes]]


@dataclass
class Answer:
    """What has come on a stream so far."""

    interims: list[dict[str, str]] = field(default_factory=list)
    head: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    body: bytes = field(default=b"", repr=False)
    trailers: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    reset: int | None = None
    stopped: int | None = None

    @property
    def status(self) -> int:
        return int(self.head[":status"])


class WithConnect(H3Connection):
    """One that knows of extended CONNECT."""

    def _get_local_settings(self) -> dict[int, int]:
        return {**super()._get_local_settings(), Setting.ENABLE_CONNECT_PROTOCOL: 1}


class Http3Client:
    """One connection. Settings are those of `QuicConfiguration`."""

    def __init__(self, address: tuple[str, int], name: str = "a.test", **settings: Any) -> None:
        settings = {"alpn_protocols": H3_ALPN, "verify_mode": ssl.CERT_NONE, "server_name": name, **settings}
        self.configuration = QuicConfiguration(is_client=True, **settings)
        self.tickets: list[SessionTicket] = []
        self.quic = QuicConnection(configuration=self.configuration, session_ticket_handler=self.tickets.append)
        self.address = address
        self.sock = self.new_socket()
        self.answers: dict[int, Answer] = {}
        self.events: list[QuicEvent] = []
        self.lost: Callable[[bytes], bool] = lambda datagram: False  # of what comes
        self.terminated: ConnectionTerminated | None = None
        self.was_reset = False  # by a packet that belongs to no connection
        self.quic.connect(address, now=time.monotonic())
        self.http: H3Connection = WithConnect(self.quic)
        self.flush()

    def new_socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        return sock

    def move(self) -> None:
        """Speak from another address from now on."""
        self.sock.close()
        self.sock = self.new_socket()

    def flush(self) -> None:
        for datagram, _ in self.quic.datagrams_to_send(now=time.monotonic()):
            with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                self.sock.sendto(datagram, self.address)

    def turn(self, wait_s: float = 0.05) -> None:
        """Receive what there is, after waiting for it, and answer it."""
        self.flush()
        timer = self.quic.get_timer()
        if timer is not None:
            wait_s = min(wait_s, max(0.0, timer - time.monotonic()))
        self.sock.settimeout(max(wait_s, 0.0001))
        with contextlib.suppress(TimeoutError, BlockingIOError, ConnectionRefusedError):
            while True:
                datagram = self.sock.recv(65536)
                if self.quic._peer_cid.stateless_reset_token == datagram[-16:]:  # aioquic does not look for it
                    self.was_reset = True
                if not self.lost(datagram):
                    self.quic.receive_datagram(datagram, self.address, now=time.monotonic())
                self.sock.settimeout(0.0)
        timer = self.quic.get_timer()
        if timer is not None and timer <= time.monotonic():
            self.quic.handle_timer(now=time.monotonic())
        while (event := self.quic.next_event()) is not None:
            self.take(event)
        if self.terminated is None and self.quic._close_event is not None:
            self.terminated = self.quic._close_event  # its event comes when nothing more can come
        self.flush()

    def settle(self) -> None:
        """Acknowledge what has come, and what comes of that."""
        for _ in range(4):
            self.turn()

    def take(self, event: QuicEvent) -> None:
        self.events.append(event)
        if isinstance(event, ConnectionTerminated):
            self.terminated = event
        elif isinstance(event, StreamReset):
            self.answer_of(event.stream_id).reset = event.error_code
        elif isinstance(event, StopSendingReceived):
            self.answer_of(event.stream_id).stopped = event.error_code
        for found in self.http.handle_event(event):
            if isinstance(found, HeadersReceived):
                answer = self.answer_of(found.stream_id)
                fields = {name.decode(): value.decode() for name, value in found.headers}
                if answer.head:
                    answer.trailers = fields
                elif fields[":status"].startswith("1"):
                    answer.interims.append(fields)
                else:
                    answer.head = fields
                    answer.names = [name.decode() for name, _ in found.headers]
                answer.ended = found.stream_ended
            elif isinstance(found, DataReceived):
                answer = self.answer_of(found.stream_id)
                answer.body += found.data
                answer.ended = found.stream_ended

    def answer_of(self, stream: int) -> Answer:
        return self.answers.setdefault(stream, Answer())

    def until(self, condition: Callable[[], bool]) -> None:
        """Turn until something holds."""
        end = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < end, (self.terminated, self.answers)
            self.turn()

    def handshake(self) -> Http3Client:
        self.until(
            lambda: self.terminated is not None or any(isinstance(each, HandshakeCompleted) for each in self.events)
        )
        return self

    def open(
        self, method: str = "GET", path: str = "/", *fields: tuple[str, str], host: str = "a.test", end: bool = True
    ) -> int:
        """Begin a stream with a head. Gives its number."""
        stream = self.quic.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "https"), (":authority", host), (":path", path), *fields]
        self.http.send_headers(stream, [(name.encode(), value.encode()) for name, value in head], end_stream=end)
        self.flush()
        return stream

    def data(self, stream: int, data: bytes, end: bool = False) -> None:
        self.http.send_data(stream, data, end_stream=end)
        self.flush()

    def answer(self, stream: int) -> Answer:
        """The whole answer, or why there is none."""
        self.until(
            lambda: (
                self.terminated is not None or self.answer_of(stream).ended or self.answer_of(stream).reset is not None
            )
        )
        return self.answer_of(stream)

    def ask(
        self, method: str = "GET", path: str = "/", *fields: tuple[str, str], body: bytes = b"", host: str = "a.test"
    ) -> Answer:
        stream = self.open(method, path, *fields, host=host, end=not body)
        if body:
            self.data(stream, body, end=True)
        return self.answer(stream)

    def close(self) -> None:
        self.quic.close()
        self.flush()
        self.sock.close()


@contextlib.contextmanager
def http3(address: Any, name: str = "a.test", **settings: Any) -> Iterator[Http3Client]:
    client = Http3Client(address, name, **settings)
    try:
        yield client
    finally:
        client.close()
