"""`providers.http`: a dynamic file that lbcore fetches from a web server at intervals."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from urllib.parse import unquote, urlsplit, urlunsplit

from lbcore.config.decode import decode
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.report import lines
from lbcore.config.static.providers import HttpProvider
from lbcore.config.tree import parse
from lbcore.errors import ConfigError, Problem
from lbcore.provider.follow import Reading
from lbcore.provider.web import CALL_S, SIZE_LIMIT_BYTES, WebClient

JITTER = 0.1  # part of the interval by which it is longer or shorter, so that instances do not ask in step


class HttpStore:
    """A server that gives a dynamic file. Raises ConfigError for settings that cannot be used."""

    name = "http"

    def __init__(self, settings: HttpProvider) -> None:
        self._settings = settings
        parts = urlsplit(settings.endpoint)
        if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
            raise ConfigError([Problem("providers.http.endpoint", "is no URL", "write http://... or https://...")])
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")
        self._url = urlunsplit(parts)
        self._client = WebClient(
            self.name,
            "http",
            self._url,
            tls=settings.tls,
            username=unquote(urlsplit(settings.endpoint).username or ""),
            password=unquote(urlsplit(settings.endpoint).password or ""),
            headers=settings.headers,
            limit=settings.poll_timeout,
            follows=True,
        )
        self.place = urlunsplit(parts._replace(query=""))  # a query may hold a token
        self._known: dict[str, str] = {}  # headers that ask whether the last answer still holds
        self._last: Reading | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def changes(self) -> AsyncIterator[None]:
        """See Store. What the server gives is only seen by asking: see `Reading.again_s`."""
        yield
        await asyncio.Event().wait()

    async def read(self) -> Reading:
        """See Store."""
        interval_s = self._settings.poll_interval.total_seconds()
        again_s = interval_s * random.uniform(1 - JITTER, 1 + JITTER)
        limit = self._settings.max_response_body_size
        async with asyncio.timeout(self._settings.poll_timeout.total_seconds() or CALL_S):
            status, headers, body = await self._client.get(
                self._url,
                accept=(200, 304) if self._known else (200,),
                headers=self._known,
                limit_bytes=limit if limit >= 0 else SIZE_LIMIT_BYTES,
            )
        if status == 304 and self._last is not None:
            return Reading(self._last.config, self._last.problems, self._last.warnings, again_s)
        self._known, self._last = {}, None
        config, warnings = await asyncio.to_thread(self._decoded, body)
        found = Reading(config, (), warnings, again_s)
        self._last = found
        for said, asks in (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since")):
            if said in headers:
                self._known[asks] = headers[said]
        return found

    def _decoded(self, body: bytes) -> tuple[DynamicConfig, tuple[str, ...]]:
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError([Problem("", f"not UTF-8: {error.reason} at byte {error.start}")]) from None
        decoded = decode(parse(text, self.place, toml=False, templates=False), DynamicConfig)
        return decoded.model, tuple(lines(decoded.warnings))
