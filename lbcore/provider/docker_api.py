"""What providers ask of Docker's API (Podman has the same): lists, details, events. Nothing is ever changed."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any

from lbcore.config.json_text import read_json
from lbcore.config.static.providers import DockerApi
from lbcore.provider.web import AnswerError, WebClient

NEWEST = (1, 51)  # version of the API that is understood
REFUSALS = frozenset({403, 404, 405, 501})  # of a proxy in front of a daemon that lets some questions pass alone
REFUSED_S = 60.0  # events that were refused are asked for again after this time
BEFORE_S = 1  # events are asked for from this time before the connection, as the clock of the server has it in seconds


class DockerClient:
    """One Docker or Podman. Raises ConfigError for settings that cannot be used, and AnswerError in its calls."""

    def __init__(self, provider: str, settings: DockerApi) -> None:
        self._web = WebClient(
            provider,
            "docker",
            settings.endpoint,
            tls=settings.tls,
            username=settings.username,
            password=settings.password,
            limit=settings.http_client_timeout,
        )
        self.place = self._web.place
        self._version = ""
        self._lacks: set[str] = set()  # what is refused, which was logged
        self._log = logging.getLogger(f"lbcore.provider.{provider}")

    async def close(self) -> None:
        """Close the connections."""
        self._version = ""
        await self._web.close()

    async def _ping(self) -> int:
        """Agree on a version of the API. Returns the server's time, in seconds of Unix; 0 if it does not say it."""
        _, headers, _ = await self._web.get("/_ping")
        theirs = headers.get("api-version", "")
        try:
            version = min(NEWEST, (int(theirs.partition(".")[0]), int(theirs.partition(".")[2])))
            self._version = f"/v{version[0]}.{version[1]}"
        except ValueError:
            self._version = ""
        try:
            return int(parsedate_to_datetime(headers.get("date", "")).timestamp())
        except (TypeError, ValueError):
            return 0

    async def ask(self, path: str, query: dict[str, Any] | None = None, missing: Any = None) -> Any:
        """The JSON of an answer; `missing` if what was asked for does not exist."""
        if not self._version:
            await self._ping()
        accept = (200,) if missing is None else (200, 404)
        status, _, body = await self._web.get(self._version + path, _texts(query), accept)
        if status == 404:
            return missing
        try:
            return read_json(body)
        except ValueError as error:
            raise AnswerError(f"an answer to {path} is no JSON: {error}") from None

    def lacks(self, what: str, error: AnswerError, instead: str) -> bool:
        """Whether something is refused for good, which is logged once; else it may be answered later."""
        if error.status in REFUSALS and what not in self._lacks:
            self._lacks.add(what)
            self._log.warning("%s: %s cannot be had: %s; %s", self.place, what, error, instead)
        return error.status in REFUSALS

    def has(self, what: str) -> None:
        """Record that something is given, which is logged if it was refused before."""
        if what in self._lacks:
            self._lacks.discard(what)
            self._log.info("%s: %s can be had now", self.place, what)

    @asynccontextmanager
    async def events(self, kinds: tuple[str, ...]) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The events from just before the connection on, so that none is lost between it and a list that follows."""
        now = await self._ping()
        query: dict[str, Any] = {"filters": {"type": list(kinds)}}
        if now:
            query["since"] = str(now - BEFORE_S)
        async with self._web.lines(f"{self._version}/events", _texts(query)) as lines:
            yield _events(lines)


async def _events(lines: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    async for line in lines:
        try:
            event = read_json(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _texts(query: dict[str, Any] | None) -> dict[str, str] | None:
    if query is None:
        return None
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in query.items()}
