"""HTTP clients of providers: Unix sockets, TLS, credentials, limits of time and size. Loads httpx when first used."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lbcore.config.json_text import read_json
from lbcore.config.static.providers import ClientTls
from lbcore.errors import ConfigError, Problem
from lbcore.tls.clients import context_of

if TYPE_CHECKING:
    import httpx

CONNECT_S = 5.0
CALL_S = 60.0  # longest wait for a part of an answer if the configuration does not limit it
SIZE_LIMIT_BYTES = 64 << 20
LINE_LIMIT_BYTES = 1 << 20
# A peer that is gone without a word is noticed within 25 s.
_KEEP_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


class AnswerError(OSError):
    """An answer other than the one that was asked for. `status` is 0 if none came."""

    def __init__(self, text: str, status: int = 0) -> None:
        self.status = status
        super().__init__(text)


def library(provider: str, extra: str) -> ModuleType:
    """httpx. Raises ConfigError if it is not installed."""
    try:
        import httpx
    except ImportError:
        hint = f"type: pip install 'lbcore[{extra}]'"
        raise ConfigError(
            [Problem(f"providers.{provider}", "needs the package httpx, which is missing", hint)]
        ) from None
    for name in ("httpx", "httpcore"):
        # It logs the URL of each request, with what is in the query.
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.WARNING)
    return httpx


class WebClient:
    """A client of one server.

    endpoint  http://host:port, https://..., tcp://..., or unix:///path.
    limit     longest wait for a part of an answer; 0: `waits_s`.
    follows   whether redirections are followed.
    connections  that may be open at once; 0: as many as httpx has by default.
    Raises ConfigError for an endpoint, or files of `tls`, that cannot be used.
    """

    def __init__(
        self,
        provider: str,
        extra: str,
        endpoint: str,
        *,
        tls: ClientTls | None = None,
        username: str = "",
        password: str = "",
        headers: dict[str, str] | None = None,
        limit: timedelta = timedelta(0),
        waits_s: float = CALL_S,
        follows: bool = False,
        connections: int = 0,
    ) -> None:
        self._httpx = library(provider, extra)
        self._limit_s = limit.total_seconds() or waits_s
        path, url = "", ""
        try:
            parts = urlsplit(endpoint)
            scheme, host, port = parts.scheme.lower(), parts.hostname or "", parts.port
        except ValueError:
            scheme, host, port = "", "", None
        if scheme == "unix":
            path, url = endpoint.partition("://")[2] or endpoint.partition(":")[2], "http://localhost"
            self.place = f"unix:{path}"
        elif scheme in ("tcp", "http", "https") and host and not parts.username:
            scheme = "https" if tls is not None and scheme == "tcp" else "http" if scheme == "tcp" else scheme
            host = f"[{host}]" if ":" in host else host
            url = f"{scheme}://{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
            self.place = url
        if not url:
            raise ConfigError([Problem(f"providers.{provider}.endpoint", *_no_endpoint(scheme))])
        verify = context_of(f"providers.{provider}.tls", tls) if tls is not None or url.startswith("https") else False
        self._settings: dict[str, Any] = {
            "base_url": url,
            "headers": headers or {},
            "trust_env": False,
            "follow_redirects": follows,
        }
        self._settings["timeout"] = self._httpx.Timeout(self._limit_s, connect=min(CONNECT_S, self._limit_s))
        if username:
            self._settings["auth"] = (username, password)
        self._transport: dict[str, Any] = {"uds": path} if path else {"socket_options": _KEEP_ALIVE, "verify": verify}
        if connections:
            self._transport["limits"] = self._httpx.Limits(max_connections=connections)
        self._client: httpx.AsyncClient | None = None

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            transport = self._httpx.AsyncHTTPTransport(**self._transport)
            self._client = self._httpx.AsyncClient(transport=transport, **self._settings)
        return self._client

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def get(
        self,
        path: str,
        query: dict[str, str] | None = None,
        accept: tuple[int, ...] = (200,),
        headers: dict[str, str] | None = None,
        limit_bytes: int = SIZE_LIMIT_BYTES,
        data: Any = None,
        wait_s: float = 0.0,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (in lower case) and body of an answer. Raises AnswerError.

        data    is sent as JSON by POST, which is how some servers are asked.
        wait_s  the server may take that much longer: it answers when something has changed.
        """
        limit_s = self._limit_s + wait_s
        async with self._asked(path, query, headers=headers, data=data, limit_s=limit_s) as answer:
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > limit_bytes:
                    size = f"{limit_bytes >> 20} MiB" if limit_bytes >= 1 << 20 else f"{limit_bytes} bytes"
                    raise AnswerError(f"an answer is larger than {size}")
            if answer.status_code not in accept:
                raise AnswerError(_refusal(answer.status_code, bytes(body)), answer.status_code)
            return answer.status_code, {key.lower(): value for key, value in answer.headers.items()}, bytes(body)

    async def send(
        self, method: str, path: str, content: bytes, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of the answer to a request with a body. Raises AnswerError if there is none."""
        async with self._asked(path, None, headers, self._limit_s, method=method, content=content) as answer:
            return answer.status_code, await answer.aread()

    @asynccontextmanager
    async def lines(
        self,
        path: str,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        limit_bytes: int = LINE_LIMIT_BYTES,
        data: Any = None,
        quiet_s: float | None = None,
        cuts: bool = False,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of an answer that does not end. Raises AnswerError.

        limit_bytes  of a line.
        data         as of `get`.
        quiet_s      longest time without any data; None: no limit.
        cuts         of a line that is too long its beginning is given; otherwise it is an error.
        """
        async with self._asked(path, query, headers=headers, data=data, limit_s=quiet_s) as answer:
            if answer.status_code != 200:
                raise AnswerError(_refusal(answer.status_code, await answer.aread()), answer.status_code)
            yield self._lines(answer, limit_bytes, cuts)

    async def _lines(self, answer: httpx.Response, limit_bytes: int, cuts: bool) -> AsyncIterator[bytes]:
        rest = bytearray()
        try:
            async for part in answer.aiter_bytes():
                for number, line in enumerate(part.split(b"\n")):
                    if number:
                        if whole := bytes(rest.strip()):
                            yield whole
                        rest.clear()
                    if len(rest) + len(line) > limit_bytes and not cuts:
                        raise AnswerError("an answer has a line that is too long")
                    rest += line[: limit_bytes - len(rest)]
        except self._httpx.HTTPError as error:
            raise AnswerError(_reason(error)) from None

    @asynccontextmanager
    async def _asked(
        self,
        path: str,
        query: dict[str, str] | None,
        headers: dict[str, str] | None,
        limit_s: float | None,
        data: Any = None,
        method: str = "",
        content: bytes | None = None,
    ) -> AsyncIterator[httpx.Response]:
        httpx = self._httpx
        more: dict[str, Any] = {"params": query, "headers": headers, "content": content}
        more["timeout"] = httpx.Timeout(self._limit_s, connect=min(CONNECT_S, self._limit_s), read=limit_s)
        if data is not None:
            more["json"] = data
        try:
            async with self._open().stream(method or ("GET" if data is None else "POST"), path, **more) as answer:
                yield answer
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AnswerError(_reason(error)) from None


def _no_endpoint(scheme: str) -> tuple[str, str]:
    if scheme in ("ssh", "npipe"):
        return f"{scheme} is not supported by this version of lbcore", "use unix, tcp, http or https"
    return "is no address of a server", "write unix:///path, tcp://host:port or https://host:port, without user name"


def _refusal(status: int, body: bytes) -> str:
    """The server's own text about why it refuses, in one short line."""
    text = ""
    try:
        text = str(read_json(body)["message"])
    except (ValueError, KeyError, TypeError):
        text = "" if body.lstrip()[:1] in (b"<", b"{", b"[") else body[:400].decode("ascii", "ignore")
    text = "".join(filter(str.isprintable, " ".join(text.split())))[:200]
    return f"it answers {status}" + (f": {text}" if text else "")


def _reason(error: Exception) -> str:
    """Why there is no answer: the system's own reason, below all that libraries have put around it."""
    cause: BaseException | None = error
    found = ""
    for _ in range(20):
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, OSError) and cause.strerror:
            found = cause.strerror.lower()
        cause = None if cause is None else cause.__cause__ or cause.__context__
    if found:
        return found
    name = type(error).__name__
    if "Timeout" in name:
        return "it does not answer in time"
    return " ".join(str(error).split()) or name


def host_and_port(option: str, endpoint: str) -> tuple[str, int]:
    """The parts of `host:port`. Raises ConfigError, without what may be a password."""
    host, colon, port = endpoint.rpartition(":")
    if "@" in endpoint:
        text = f"a name or a password stands in front of {endpoint.rpartition('@')[2]!r}"
        raise ConfigError([Problem(option, text, "username and password are options of their own")])
    if not colon or not host or "/" in host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError([Problem(option, f"{endpoint!r} is no address", "write host:port")])
    return host.strip("[]"), int(port)
