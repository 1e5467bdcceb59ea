"""Probes, the requests of active checks: HTTP/1.1, gRPC's health protocol (grpc.health.v1), or TCP, with TLS or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from lbcore.config.dynamic import HealthCheck
from lbcore.config.network import PORTS, is_http2, is_secure, split_address, split_url
from lbcore.config.tcp import TcpHealthCheck
from lbcore.config.tls import ServerTls
from lbcore.health.stream import Reader, Writer
from lbcore.http.framing import decode_chunked
from lbcore.http.response import Response

if TYPE_CHECKING:
    from lbcore.tls.connector import Connector
    from lbcore.tls.connector import Target as TlsTarget

AGENT = "lbcore"
OFFER_H2 = b"\x02h2"  # for ALPN, as on the wire
BODY_LIMIT_BYTES = 65536
HEAD_LIMIT_BYTES = 65536
MAX_REDIRECTS = 10

Probe = Callable[[], Coroutine[Any, Any, None]]  # raises ProbeError, or OSError, if the server is unhealthy

Answer = tuple[int, dict[str, str], bytes]  # status, headers with names in lower case, beginning of the body


class ProbeError(Exception):
    """The server's answer says that it is unhealthy."""


@dataclass(frozen=True, slots=True)
class Target:
    """The destination of a probe. `tls`: its TLS target; None = clear text."""

    host: str
    port: int  # 0: `host` is the path of a Unix socket
    authority: str
    path: str
    tls: TlsTarget | None = None
    http2: bool = False  # without TLS

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def scheme(self) -> str:
        return "http" if self.tls is None else "https"


def _connector(tls: ServerTls) -> Connector:
    from lbcore.tls.connector import Connector

    return Connector(tls)


def _over_tls(connector: Connector, host: str) -> TlsTarget:
    from lbcore.tls.connector import Target

    return Target(connector, host)


def probe_for(url: str, check: HealthCheck, tls: ServerTls | None = None) -> Probe:
    """The probe of the server at `url`, with these settings if it uses TLS. Raises ValueError for unusable settings."""
    target = target_of(url, check, tls)
    if check.mode == "grpc":
        return lambda: _grpc(target)
    return lambda: _http(target, check, tls or ServerTls())


def target_of(url: str, check: HealthCheck, tls: ServerTls | None = None) -> Target:
    """The destination of a server's probes: its own address, with the check's scheme, port, path and host name."""
    if check.scheme and "://" in url:
        url = f"{check.scheme}://{url.partition('://')[2]}"
    host, port, authority, own_path = split_url(url)
    if check.port and port:
        port = check.port
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    path = urlsplit(urljoin(f"http://server{own_path or '/'}", check.path))
    over = _over_tls(_connector(tls or ServerTls()), host) if is_secure(url) else None
    asked = (path.path or "/") + (f"?{path.query}" if path.query else "")
    return Target(host, port, authority, asked, over, is_http2(url))


def tcp_probe_for(address: str, check: TcpHealthCheck, tls: ServerTls | None = None) -> Probe:
    """The probe of a layer 4 server, over TLS with these settings: it has to accept, and to answer as expected.

    Raises ValueError for unusable settings."""
    host, port, authority, _ = split_address(address)
    over = None if tls is None else _over_tls(_connector(tls), host)
    target = Target(host, check.port if check.port and port else port, authority, "", over)
    return lambda: _tcp(target, check)


async def _tcp(target: Target, check: TcpHealthCheck) -> None:
    reader, writer = await open_to(target)
    try:
        writer.write(check.send.encode())
        wanted, found = check.expect.encode(), b""
        while wanted and len(found) < len(wanted):
            piece = await reader.read(BODY_LIMIT_BYTES)
            if not piece:
                break
            found += piece
        if not found.startswith(wanted):
            raise ProbeError(f"unexpected health check response: {found[:100]!r}, expected {wanted!r}")
    finally:
        writer.close()


async def open_to(target: Target, protocols: bytes = b"") -> tuple[Reader, Writer]:
    """A new connection. `protocols`: offered by ALPN, as on the wire."""
    if target.port == 0:
        return await asyncio.open_unix_connection(target.host)
    reader, writer = await asyncio.open_connection(target.host, target.port)
    if target.tls is None:
        return reader, writer
    from lbcore.health.secure import open_secure

    try:
        stream = await open_secure(target.tls, reader, writer, protocols)
    except BaseException:
        writer.close()
        raise
    return stream, stream


async def _grpc(target: Target) -> None:
    from lbcore.health.grpc import ask_grpc

    reader, writer = await open_to(target, OFFER_H2)
    try:
        status = await ask_grpc(reader, writer, target.authority, target.scheme)
    finally:
        writer.close()
    if status != "SERVING":
        raise ProbeError(f"gRPC health status {status}")


async def _http(target: Target, check: HealthCheck, tls: ServerTls) -> None:
    method, host = check.method or "GET", check.hostname
    for _ in range(MAX_REDIRECTS + 1):
        status, headers, body = await _ask(target, method, host or target.authority, check)
        location = headers.get("location")
        if not (check.follow_redirects and location and status in (301, 302, 303, 307, 308)):
            return _judge(status, body, check)
        follow = urlsplit(urljoin(target.url, location))
        if follow.scheme not in ("http", "https") or not follow.hostname:
            raise ProbeError(f"redirected to {location}, which cannot be followed")
        if (follow.scheme, follow.netloc) != (target.scheme, target.authority):
            over = None
            if follow.scheme == "https":
                over = _over_tls(target.tls.connector if target.tls else _connector(tls), follow.hostname)
            target = Target(follow.hostname, follow.port or PORTS[follow.scheme], follow.netloc, "/", over)
            host = ""
        path = (follow.path or "/") + (f"?{follow.query}" if follow.query else "")
        target = replace(target, path=path)
        if status in (301, 302, 303) and method not in ("GET", "HEAD"):
            method = "GET"
    raise ProbeError(f"more than {MAX_REDIRECTS} redirects")


def _judge(status: int, body: bytes, check: HealthCheck) -> None:
    if check.status and status != check.status:
        raise ProbeError(f"received unexpected status code: {status} expected code: {check.status}")
    if not check.status and not 200 <= status < 400:
        raise ProbeError(f"received error status code: {status}")
    if check.expect_body and check.expect_body.encode() not in body:
        raise ProbeError(f"the body does not hold {check.expect_body!r}")


async def _ask(target: Target, method: str, host: str, check: HealthCheck) -> Answer:
    """Send a request. Returns status, headers with names in lower case and, if the check needs it, part of the body."""
    lines = [f"{method} {target.path} HTTP/1.1", f"Host: {host}", f"User-Agent: {AGENT}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in check.headers.items() if name.lower() != "host"]
    if any(set("\r\n\0") & set(line) for line in lines):
        raise ProbeError("the request of the check holds line breaks")
    reader, writer = await open_to(target)
    try:
        if target.http2:
            return await _ask_http2(reader, writer, target, method, host, check)
        writer.write("\r\n".join([*lines, "", ""]).encode())
        return await _read_answer(reader, method == "HEAD", bool(check.expect_body))
    finally:
        writer.close()


async def _ask_http2(
    reader: Reader, writer: Writer, target: Target, method: str, host: str, check: HealthCheck
) -> Answer:
    pseudo = [(":method", method), (":scheme", target.scheme), (":path", target.path), (":authority", host)]
    more = [(name.lower(), value) for name, value in check.headers.items() if name.lower() != "host"]
    limit = BODY_LIMIT_BYTES if check.expect_body else 0
    from lbcore.health.http2 import ask_http2

    answer = await ask_http2(reader, writer, [*pseudo, ("user-agent", AGENT), *more], limit)
    if isinstance(answer, str):
        raise ProbeError(answer)
    return answer


async def _read_answer(
    reader: Reader, is_head: bool, with_body: bool
) -> tuple[int, dict[str, str], bytes]:
    data = b""
    response = Response()
    while True:
        used = response.parse_bytes(data, head_request=is_head)
        if used < 0:
            raise ProbeError("the answer is not HTTP/1")
        if used > 0:
            answer = response.describe()
            if answer["status"] >= 200:
                break
            data = data[used:]
            continue
        if len(data) > HEAD_LIMIT_BYTES:
            raise ProbeError("the head of the answer does not end")
        piece = await reader.read(16384)
        if not piece:
            raise ProbeError("the server closed without an answer")
        data += piece
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer["headers"]}
    body = data[used:]
    while with_body and not is_head and len(body) < BODY_LIMIT_BYTES and (piece := await reader.read(16384)):
        body += piece
    if with_body and headers.get("transfer-encoding", "").lower() == "chunked":
        body = decode_chunked([body])[0]
    return answer["status"], headers, body
