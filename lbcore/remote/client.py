"""A client of the API of a running instance."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from lbcore.remote.unix import UnixConnection

TIMEOUT_S = 10
MOST_LINE = 1 << 20  # bytes of a line of a stream
TOKEN_HEADER = "X-Lbcore-Token"
ELSEWHERE = "does it run, with `api` configured? If its API has another address, give that with --api or LBCORE_API"
GUARDED = (
    "a middleware stands in front of the API; give a name and a password as LBCORE_API=https://NAME:PASSWORD@host, "
    "or ask on an entry point without one, as `api.insecure` has it"
)
FORMS = "write http://host:port, https://host, or unix:/path"
UNTRUSTED = "SSL_CERT_FILE may name the authority that the certificate is of"


class ApiError(Exception):
    """The instance cannot be reached, or refuses the request."""


class ApiClient:
    """`url`: of the API, e.g. http://127.0.0.1:8080; https, and a name and a password in it, for one behind a login;
    unix:/path for an entry point at a Unix socket, unix:/path:/base with an `api.basePath`. `token`: the permission to
    change something."""

    def __init__(self, url: str, token: str = "") -> None:
        self._tls: ssl.SSLContext | None = None
        self._headers: dict[str, str | bytes] = {TOKEN_HEADER: token.encode()} if token else {}
        if not token.isprintable():
            raise ApiError("the token holds control characters or line breaks")
        try:
            parts = urlsplit(url)
            self._host, self._port, path = parts.hostname or "", parts.port, parts.path
        except ValueError:  # brackets, ports
            raise ApiError(f"{url!r} is not the URL of an API: {FORMS}") from None
        self._socket = ""
        if parts.scheme == "unix" and not parts.netloc:
            self._socket, colon, base = path.partition(":/")
            path = f"/{base}" if colon else ""
        if not self._socket and (not self._host or parts.scheme not in ("http", "https")):
            raise ApiError(f"{url!r} is not the URL of an API: {FORMS}")
        login, _, place = parts.netloc.rpartition("@")
        self._url = parts._replace(netloc=place).geturl()  # without a password, for what is said
        self._path = path.rstrip("/")
        if parts.scheme == "https":
            self._tls = ssl.create_default_context()
        if login:
            user = unquote(login if ":" in login else f"{login}:")
            self._headers["Authorization"] = b"Basic " + base64.b64encode(user.encode())

    def _connection(self) -> http.client.HTTPConnection:
        if self._socket:
            return UnixConnection(self._socket, TIMEOUT_S)
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """The JSON under `/api/...`. Raises ApiError."""
        with contextlib.closing(self._connection()) as connection, self._explained():
            answer = self._send(connection, path, method, body)
            text = answer.read().decode(errors="replace")
        return self._read(path, answer.status, text)

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """The events of a stream under `/api/...`: their names and data, as they come. Raises ApiError, also if nothing
        comes for TIMEOUT_S."""
        with contextlib.closing(self._connection()) as connection:
            with self._explained():
                answer = self._send(connection, path, "GET", None)
                is_stream = answer.status == 200 and answer.headers.get_content_type() == "text/event-stream"
                text = "" if is_stream else answer.read().decode(errors="replace")
            if not is_stream:
                self._read(path, answer.status, text)
                raise ApiError(f"{self._url}{path} is no stream; {ELSEWHERE}")
            name = ""
            while True:
                with self._explained():
                    line = answer.readline(MOST_LINE)
                if not line:
                    return
                key, _, value = line.decode(errors="replace").rstrip("\r\n").partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    yield name, self._read(path, 200, value)

    def _send(
        self, connection: http.client.HTTPConnection, path: str, method: str, body: Any
    ) -> http.client.HTTPResponse:
        headers = {**self._headers, **({"Content-Type": "application/json"} if body is not None else {})}
        connection.request(method, self._path + path, json.dumps(body) if body is not None else None, headers)
        return connection.getresponse()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise ApiError for what a connection raises."""
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise ApiError(f"{self._url} is not trusted: {error.verify_message}; {UNTRUSTED}") from None
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last of a host's name
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
            raise ApiError(f"no answer from {self._url}: {reason}; {ELSEWHERE}") from None

    def _read(self, path: str, status: int, text: str) -> Any:
        """The JSON of an answer. Raises ApiError."""
        try:
            found = json.loads(text)
        except ValueError:
            said = f"{self._url}{path} answers {status}"
            if status in (401, 403):
                raise ApiError(f"{said}: {GUARDED}") from None
            raise ApiError(f"{said}, which is no API of lbcore; {ELSEWHERE}") from None
        if status != 200:
            message = str(found.get("message", text)) if isinstance(found, dict) else text
            if isinstance(found, dict) and found.get("needsForce"):
                message += "; add --force if that is what you want"
            raise ApiError(message)
        return found
