"""What is measured: each workload drives one proxy for one round and says what that cost."""

from __future__ import annotations

import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bench import grpc, http3
from bench.load import Load, LoadError, h2load, h2load_streams, wrk
from bench.process import cpu, memory_bytes
from bench.tasks import AUTHORIZATION
from bench.udp import ask

REALISTIC = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "https://shop.example.com/catalogue/shoes?page=3&sort=price",
    "Cookie": "session=8c58ad4750226f20a1b2c3d4e5f60718; theme=dark; consent=1; _ga=GA1.1.1234567890.1700000000",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-User": "?1",
    "Priority": "u=0, i",
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "DNT": "1",
    "Upgrade-Insecure-Requests": "1",
    "X-Request-Id": "0f8fad5b-d9cb-469f-a165-70867728950e",
    "If-None-Match": 'W/"5e8b-18c1a2b3c4d"',
    "X-Requested-With": "XMLHttpRequest",
    "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "X-Client-Version": "4.11.0-rc2",
}
SPREAD = """
local n, i = {hosts}, 0
request = function()
  i = (i * 1103515245 + 12345) % 2147483648
  return wrk.format("GET", "/", {{["Host"] = "h" .. (i % n) .. ".test"}})
end
"""
CLIENTS = """
local n = {first}
request = function()
  n = (n + {step}) % {sources}
  return wrk.format("GET", "/", {{["X-Client"] = "client-" .. n}})
end
"""
SOURCES = 1_000_000
STEP = 7919  # from one client to the next; it has no divisor in common with their number
IDLE_CONNECTIONS = 4000
FIXED_RATE = 20_000
TEXT_BYTES = 1 << 18  # of what is compressed


@dataclass(frozen=True, slots=True)
class Target:
    """A running proxy."""

    port: int
    pid: int
    folder: Path
    encrypted: bool = False

    @property
    def url(self) -> str:
        return f"{'https' if self.encrypted else 'http'}://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One round. `cost` is user plus system in the workload's unit, `part` what is left of a body that was encoded."""

    cost: float
    user: float
    system: float
    load: Load | None = None
    part: float = 0


@dataclass(frozen=True, slots=True)
class Workload:
    name: str
    what: str
    unit: str
    drive: Callable[[Target, int], Sample]
    hosts: int = 0
    kind: str = "http"  # of the proxy's job, see `Job`
    key: str = ""  # kind of the certificate's, see `certificates`; none: plain
    tickets: bool = True
    task: str = ""  # of `bench.tasks`
    headers: Mapping[str, str] = field(default_factory=dict)  # without which a request is refused


def per_request(target: Target, drive: Callable[[], Load]) -> Sample:
    """CPU microseconds per request."""
    before = cpu(target.pid)
    load = drive()
    used = cpu(target.pid) - before
    user, system = 1e6 * used.user_s / load.requests, 1e6 * used.system_s / load.requests
    return Sample(user + system, user, system, load)


def keepalive(target: Target, seconds: int) -> Sample:
    return per_request(target, lambda: wrk(target.url + "/", seconds, 64))


def rate(target: Target, seconds: int) -> Sample:
    return per_request(target, lambda: h2load(target.url + "/", seconds, 64, FIXED_RATE, target.folder))


def streams(connections: int, each: int, path: str = "/") -> Callable[[Target, int], Sample]:
    """Over HTTP/2: `each` requests under way on each connection."""

    def drive(target: Target, seconds: int) -> Sample:
        url = target.url + path
        return per_request(target, lambda: h2load_streams(url, seconds, connections, each, target.folder))

    return drive


def streams_http3(target: Target, seconds: int) -> Sample:
    return per_request(target, lambda: http3.ask(target.port, seconds, 4, 16))


def calls(target: Target, seconds: int) -> Sample:
    return per_request(target, lambda: grpc.call(target.url, seconds, 16, 16, target.folder))


def streams10m(target: Target, seconds: int) -> Sample:
    """CPU milliseconds per GiB."""
    return per_gib(streams(4, 1, "/10m")(target, seconds))


def headers(target: Target, seconds: int) -> Sample:
    return per_request(target, lambda: wrk(target.url + "/", seconds, 64, REALISTIC))


def connect(target: Target, seconds: int) -> Sample:
    return per_request(target, lambda: wrk(target.url + "/", seconds, 64, {"Connection": "close"}))


def body10m(target: Target, seconds: int) -> Sample:
    """CPU milliseconds per GiB."""
    return per_gib(per_request(target, lambda: wrk(target.url + "/10m", seconds, 4)))


def per_gib(sample: Sample) -> Sample:
    """Of a sample by requests of 10 MB."""
    factor = 1024 / 10 / 1000
    return Sample(sample.cost * factor, sample.user * factor, sample.system * factor, sample.load)


@cache
def trusting(protocol: str = "http/1.1") -> ssl.SSLContext:
    """For clients that take any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


def idle(target: Target, seconds: int) -> Sample:
    """KiB of process memory per idle client connection that has had one answer."""
    return per_connection(target, "http/1.1", ask_once)


def idle_http2(target: Target, seconds: int) -> Sample:
    return per_connection(target, "h2", ask_once_by_stream)


def per_connection(target: Target, protocol: str, ask: Callable[[socket.socket], None]) -> Sample:
    before = memory_bytes(target.pid)
    connections: list[socket.socket] = []
    try:
        for _ in range(IDLE_CONNECTIONS):
            sock = socket.create_connection(("127.0.0.1", target.port), timeout=10)
            if target.encrypted:
                sock = trusting(protocol).wrap_socket(sock)
            connections.append(sock)
            ask(sock)
        time.sleep(0.5)
        used = (memory_bytes(target.pid) - before) / IDLE_CONNECTIONS / 1024
    finally:
        for sock in connections:
            sock.close()
    return Sample(used, 0, 0)


def datagrams(target: Target, seconds: int) -> Sample:
    """CPU microseconds per datagram and its answer."""
    return per_request(target, lambda: ask(target.port, seconds, 64, 100))


def ask_once(sock: socket.socket) -> None:
    sock.sendall(b"GET / HTTP/1.1\r\nHost: idle.test\r\n\r\n")
    if not sock.recv(4096).startswith(b"HTTP/1.1 200"):
        raise LoadError("a connection that was to idle got no answer")


def ask_once_by_stream(sock: socket.socket) -> None:
    """Over HTTP/2: preface, settings, a request by indexed fields; then frames until the stream ends."""
    head = b"\x82\x87\x84\x41\x09idle.test"
    sock.sendall(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        b"\0\0\0\x04\0\0\0\0\0" + len(head).to_bytes(3, "big") + b"\x01\x05\0\0\0\x01" + head
    )
    rest = b""
    while True:
        while len(rest) < 9 or len(rest) < 9 + int.from_bytes(rest[:3], "big"):
            piece = sock.recv(65536)
            if not piece:
                raise LoadError("a connection that was to idle got no answer")
            rest += piece
        kind, flags, stream = rest[3], rest[4], int.from_bytes(rest[5:9], "big")
        rest = rest[9 + int.from_bytes(rest[:3], "big") :]
        if kind in (0, 1) and flags & 1 and stream == 1:
            sock.sendall(b"\0\0\0\x04\x01\0\0\0\0")  # of its settings
            return


def routers(count: int) -> Callable[[Target, int], Sample]:
    def drive(target: Target, seconds: int) -> Sample:
        script = target.folder / "spread.lua"
        script.write_text(SPREAD.format(hosts=count))
        return per_request(target, lambda: wrk(target.url + "/", seconds, 64, script=script))

    return drive


def compressed(coding: str) -> Callable[[Target, int], Sample]:
    """CPU milliseconds per MiB of text, which is encoded on its way."""

    def drive(target: Target, seconds: int) -> Sample:
        part = encoded_part(target, coding)
        sample = per_request(target, lambda: wrk(target.url + "/text", seconds, 8, {"Accept-Encoding": coding}))
        factor = 1000 / TEXT_BYTES * 1.048576
        return Sample(sample.cost * factor, sample.user * factor, sample.system * factor, sample.load, part)

    return drive


def encoded_part(target: Target, coding: str) -> float:
    """Bytes of the encoded text, as a part of those of the text."""
    request = urllib.request.Request(target.url + "/text", headers={"Accept-Encoding": coding})
    with urllib.request.urlopen(request, timeout=10) as answer:
        body, got = answer.read(), answer.headers.get("Content-Encoding", "")
    if got != coding:
        raise LoadError(f"an answer in {got or 'no coding'}, and not in {coding}")
    return len(body) / TEXT_BYTES


def with_password(target: Target, seconds: int) -> Sample:
    return per_request(target, lambda: wrk(target.url + "/", seconds, 64, AUTHORIZATION))


def sources(count: int) -> Callable[[Target, int], Sample]:
    """Requests of so many clients in turn, told apart by a header. A round begins where the one before it has ended."""
    done: dict[int, int] = {}

    def drive(target: Target, seconds: int) -> Sample:
        script, first = target.folder / "clients.lua", done.get(target.pid, 0)
        script.write_text(CLIENTS.format(first=first * STEP % count, step=STEP, sources=count))
        sample = per_request(target, lambda: wrk(target.url + "/", seconds, 64, script=script))
        assert sample.load is not None
        done[target.pid] = first + sample.load.requests
        return sample

    return drive


def sources_memory(target: Target, seconds: int) -> Sample:
    """MiB of process memory by which a proxy has grown when each of the clients has sent a request."""
    sources(1)(target, 1)
    before = memory_bytes(target.pid)
    drive, seen = sources(SOURCES), 0
    while seen < SOURCES:
        load = drive(target, seconds).load
        assert load is not None
        seen += load.requests
    return Sample((memory_bytes(target.pid) - before) / (1 << 20), 0, 0)


US, MS = "CPU µs/request", "CPU ms/GiB"
WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("keepalive", "64 keep-alive connections, small answers, full speed", US, keepalive),
        Workload("rate", f"the same at {FIXED_RATE} requests/s for everyone", US, rate),
        Workload("headers", "20 realistic headers and a cookie", US, headers),
        Workload("connect", "a new connection for every request", US, connect),
        Workload("body10m", "answers of 10 MB", MS, body10m),
        Workload("tcp", "layer 4: streams of 10 MB answers over 4 connections", MS, body10m, kind="tcp"),
        Workload("tcpconnect", "layer 4: a connection for every request", "CPU µs/connection", connect, kind="tcp"),
        Workload(
            "udp",
            "64 clients, each with a datagram of 100 bytes under way",
            "CPU µs/round",
            datagrams,
            kind="udp",
        ),
        Workload("idle", f"{IDLE_CONNECTIONS} idle client connections", "KiB/connection", idle),
        Workload("tls", "TLS 1.3: 64 keep-alive connections, small answers", US, keepalive, key="ecdsa"),
        Workload("tls10m", "TLS 1.3: answers of 10 MB", MS, body10m, key="ecdsa"),
        Workload(
            "tlsecdsa", "TLS 1.3: a full handshake for every request, ECDSA", US, connect, key="ecdsa", tickets=False
        ),
        Workload(
            "tlsrsa", "TLS 1.3: a full handshake for every request, RSA 2048", US, connect, key="rsa", tickets=False
        ),
        Workload("tlsresumed", "TLS 1.3: a resumed handshake for every request", US, connect, key="ecdsa"),
        Workload(
            "tlsidle", f"TLS 1.3: {IDLE_CONNECTIONS} idle client connections", "KiB/connection", idle, key="ecdsa"
        ),
        Workload("h2", "HTTP/2 over TLS 1.3: 16 connections with 16 requests each", US, streams(16, 16), key="ecdsa"),
        Workload("h2single", "HTTP/2 over TLS 1.3: 64 connections, one request each", US, streams(64, 1), key="ecdsa"),
        Workload(
            "h2idle",
            f"HTTP/2 over TLS 1.3: {IDLE_CONNECTIONS} idle client connections",
            "KiB/connection",
            idle_http2,
            key="ecdsa",
        ),
        Workload("h210m", "HTTP/2 over TLS 1.3: answers of 10 MB", MS, streams10m, key="ecdsa"),
        Workload(
            "grpc",
            "gRPC over HTTP/2 to both sides, TLS to the client: 16 connections with 16 unary calls each",
            "CPU µs/call",
            calls,
            kind="grpc",
            key="ecdsa",
        ),
        Workload(
            "h3", "HTTP/3: 4 connections with 16 requests each", US, streams_http3, kind="http3", key="ecdsa"
        ),
        Workload("routers10", "10 routers, one host each", US, routers(10), 10),
        Workload("routers1000", "1,000 routers, one host each", US, routers(1000), 1000),
        Workload("routers10000", "10,000 routers, one host each", US, routers(10000), 10000),
        Workload(
            "chain", "allowed addresses, a rate, requests in flight, headers, a breaker", US, keepalive, task="chain"
        ),
        Workload("sources1", "a rate for each client, of which there is one", US, sources(1), task="sources"),
        Workload("sources1m", "the same with 1,000,000 clients in turn", US, sources(SOURCES), task="sources"),
        Workload("sourcesmemory", "memory that 1,000,000 clients take", "MiB", sources_memory, task="sources"),
        Workload(
            "basicauth",
            "a user and a password with each request",
            US,
            with_password,
            task="basicauth",
            headers=AUTHORIZATION,
        ),
        Workload("forwardauth", "another server is asked about each request", US, keepalive, task="forwardauth"),
        Workload("gzip", "256 KiB of text, compressed for the client", "CPU ms/MiB", compressed("gzip"), task="gzip"),
        Workload("br", "the same in Brotli", "CPU ms/MiB", compressed("br"), task="br"),
        Workload("zstd", "the same in Zstandard", "CPU ms/MiB", compressed("zstd"), task="zstd"),
    )
}
