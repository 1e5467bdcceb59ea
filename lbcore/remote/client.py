"""A client of the API of a running instance."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 10
ELSEWHERE = "does it run, with `api` configured? If its API has another address, give that with --api or LBCORE_API"
GUARDED = "a middleware stands in front of the API; ask on an entry point without one, as `api.insecure` has it"


class ApiError(Exception):
    """The instance cannot be reached, or refuses the request."""


class ApiClient:
    """`url`: of the API, e.g. http://127.0.0.1:8080. `token`: the permission to change something."""

    def __init__(self, url: str, token: str = "") -> None:
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port or 80
        except ValueError:  # brackets, ports
            self._host = ""
        if not self._host or parts.scheme != "http":
            raise ApiError(f"{url!r} is not the URL of an API: write http://host:port")
        if not token.isprintable():
            raise ApiError("the token holds control characters or line breaks")
        self._url = url
        self._path = parts.path.rstrip("/")
        self._token = token.encode()

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """The JSON under `/api/...`. Raises ApiError."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        headers: dict[str, str | bytes] = {"Content-Type": "application/json"} if body is not None else {}
        if self._token:
            headers["Authorization"] = b"Bearer " + self._token
        try:
            data = json.dumps(body) if body is not None else None
            connection.request(method, self._path + path, data, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last of a host's name
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
            raise ApiError(f"no answer from {self._url}: {reason}; {ELSEWHERE}") from None
        finally:
            connection.close()
        try:
            found = json.loads(text)
        except ValueError:
            said = f"{self._url}{path} answers {answer.status}"
            if answer.status in (401, 403):
                raise ApiError(f"{said}: {GUARDED}") from None
            raise ApiError(f"{said}, which is no API of lbcore; {ELSEWHERE}") from None
        if answer.status != 200:
            message = str(found.get("message", text)) if isinstance(found, dict) else text
            if isinstance(found, dict) and found.get("needsForce"):
                message += "; add --force if that is what you want"
            raise ApiError(message)
        return found
