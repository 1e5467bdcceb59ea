"""The files of the dashboard over HTTP: types, caching, compression, and what browsers may do with them. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from lbcore.dashboard import files

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
GUARDS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
YEAR_S = 365 * 24 * 3600


class Pages:
    """All files, by path below `/dashboard/`. There are no others, whatever a path consists of."""

    def __init__(self) -> None:
        self._files = files()
        self._tags = {path: f'"{hashlib.sha256(file.body).hexdigest()[:32]}"' for path, file in self._files.items()}

    async def answer(self, request: Request) -> Response:
        """The file of the path, or 404."""
        return await self.file(request.path_params.get("path", ""), request)

    async def file(self, path: str, request: Request) -> Response:
        """The file of a path, or 404."""
        file = self._files.get(path)
        if file is None:
            return PlainTextResponse("404 page not found\n", 404, headers=GUARDS)
        caching = f"public, max-age={YEAR_S}, immutable" if file.immutable else "no-cache"
        headers = {**GUARDS, "Cache-Control": caching, "ETag": self._tags[path]}
        if file.gzip:
            headers["Vary"] = "Accept-Encoding"
        if is_known(request, self._tags[path]):
            return Response(None, 304, headers=headers)
        body = file.body
        if file.gzip and takes_gzip(request):
            body = file.gzip
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers={**headers, "Content-Type": file.content_type})


def is_known(request: Request, tag: str) -> bool:
    """Whether a client has what the tag stands for (RFC 9110 section 13.1.2)."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or tag in [each.strip().removeprefix("W/") for each in given.split(",")]


def takes_gzip(request: Request) -> bool:
    """Whether a client takes gzip (RFC 9110 section 12.5.3)."""
    for part in request.headers.get("accept-encoding", "").split(","):
        coding, _, quality = part.replace(" ", "").partition(";q=")
        if coding.lower() in ("gzip", "*"):
            return quality not in ("0", "0.0", "0.00", "0.000")
    return False


Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


class SameOrigin:
    """Refuses what pages of other origins have a browser ask for: they may lead to a page, and no more."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and is_foreign(scope):
            refusal = PlainTextResponse("403 asked by a page of another origin\n", 403)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def is_foreign(scope: Scope) -> bool:
    """Whether a page of another origin has caused a request (Fetch Metadata; RFC 6454 for browsers without that)."""
    headers: dict[bytes, str] = {name: value.decode("latin-1") for name, value in scope["headers"]}
    method: str = scope["method"]
    if headers.get(b"sec-fetch-site") == "cross-site":
        return headers.get(b"sec-fetch-mode") != "navigate" or method not in ("GET", "HEAD")
    origin = headers.get(b"origin")
    if origin is None or method in ("GET", "HEAD", "OPTIONS"):
        return False
    return origin.partition("://")[2].lower() != headers.get(b"host", "").lower()
