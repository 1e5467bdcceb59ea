"""What is asked of an API server: lists by pages, watches, and writes. Knows no kinds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from lbcore.config.json_text import read_json
from lbcore.errors import system_message_of
from lbcore.provider.kubernetes.access import Access
from lbcore.provider.web import AnswerError, WebClient

PAGE = 500  # objects of one answer
LINE_LIMIT_BYTES = 16 << 20  # of an event: etcd holds objects of 1.5 MiB, which JSON may make longer
CONNECTIONS = 10_000  # each watch has one
EXTRA = "kubernetes"

Thing = dict[str, Any]


class Expired(Exception):
    """The server does not know any more what has changed since a version: all has to be listed again."""


class KubernetesClient:
    """One API server. Its calls raise AnswerError. Raises ConfigError for an address or files that cannot be used."""

    def __init__(self, provider: str, access: Access) -> None:
        self.provider = provider
        self.access = access
        self._web = WebClient(
            provider,
            EXTRA,
            access.endpoint,
            tls=access.tls,
            username=access.username,
            password=access.password,
            connections=CONNECTIONS,
        )
        self.place = self._web.place

    async def close(self) -> None:
        """Close the connections."""
        await self._web.close()

    def _headers(self) -> dict[str, str]:
        try:
            return {"Accept": "application/json", **self.access.headers()}
        except OSError as error:
            reason = system_message_of(error)
            raise AnswerError(f"the token {self.access.token_file} cannot be read: {reason}") from None

    async def get(self, path: str, query: dict[str, str] | None = None) -> Thing:
        """An object, or a page of a list."""
        _, _, body = await self._web.get(path, query, headers=self._headers())
        return await asyncio.to_thread(_object, body)

    async def list(self, path: str, selector: str) -> tuple[list[Thing], str]:
        """All objects, and the version at which they were so. Raises Expired if that took too long."""
        found: list[Thing] = []
        query = {"limit": str(PAGE), **({"labelSelector": selector} if selector else {})}
        while True:
            try:
                page = await self.get(path, query)
            except AnswerError as error:
                if error.status == 410:
                    raise Expired from None
                raise
            items = page.get("items") or []
            if not isinstance(items, list):
                raise AnswerError(f"the answer to {path} is no list")
            found += (item for item in items if isinstance(item, dict))
            about = page.get("metadata") or {}
            if not about.get("continue"):
                return found, str(about.get("resourceVersion") or "")
            query = {**query, "continue": str(about["continue"])}

    @asynccontextmanager
    async def watch(
        self, path: str, selector: str, version: str, longest_s: int
    ) -> AsyncIterator[AsyncIterator[tuple[str, Thing]]]:
        """What happens after a version: a type (ADDED, MODIFIED, DELETED, BOOKMARK) and an object each time.

        It ends after `longest_s`. Raises Expired.
        """
        query = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": version}
        query["timeoutSeconds"] = str(longest_s)
        if selector:
            query["labelSelector"] = selector
        try:
            async with self._web.lines(path, query, self._headers(), LINE_LIMIT_BYTES) as lines:
                yield _events(lines)
        except AnswerError as error:
            if error.status == 410:
                raise Expired from None
            raise

    async def write(self, method: str, path: str, thing: Thing) -> tuple[int, Thing]:
        """Send an object. Returns the status and the object of the answer, which may be a Status."""
        headers = {**self._headers(), "Content-Type": "application/json"}
        status, body = await self._web.send(method, path, json.dumps(thing).encode(), headers)
        return status, _object(body)


async def _events(lines: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, Thing]]:
    async for line in lines:
        event = _object(line)
        kind, thing = str(event.get("type")), event.get("object")
        if not isinstance(thing, dict):
            raise AnswerError("an event without an object")
        if kind == "ERROR":
            if thing.get("code") == 410:
                raise Expired
            raise AnswerError(f"it says {thing.get('code')}: {thing.get('message')}", int(thing.get("code") or 0))
        yield kind, thing


def _object(body: bytes) -> Thing:
    try:
        found = read_json(body)
    except ValueError as error:
        raise AnswerError(f"an answer is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise AnswerError("an answer is no object")
    return found
