"""What providers ask of Consul's API: keys, services, checks; and of Nomad's, which answers in the same way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from lbcore.config.json_text import read_json
from lbcore.provider.web import AnswerError, WebClient

WAIT_S = 60.0  # a blocking query is answered after this time (Consul adds a 16th at most) if nothing has changed
SLACK_S = 15.0  # ... and is lost if there is no answer this much later
QUIET_S = 0.1  # least time between two blocking queries: a server that does not block is not asked without end


class AgentClient:
    """One agent. `query` goes with each question: the datacenter, the namespace, the kind of consistency."""

    def __init__(self, web: WebClient, query: dict[str, str], prefix: str, wait_s: float = 0.0) -> None:
        self._web = web
        self._query = query
        self._index = f"{prefix}-index"  # the header with the index of an answer
        self._filtered = f"{prefix}-results-filtered-by-acls"
        self._wait_s = wait_s or WAIT_S
        self.place = web.place

    async def close(self) -> None:
        """Close the connections."""
        await self._web.close()

    async def ask(
        self, path: str, query: dict[str, str] | None = None, missing: Any = None, is_all: bool = False
    ) -> Any:
        """The JSON of an answer; `missing` if what was asked for does not exist. Raises AnswerError.

        is_all  an answer that is empty, because the token may not read what is in it, is an error.
        """
        return (await self._ask(path, query or {}, missing, is_all=is_all))[0]

    async def blocks(self, path: str, query: dict[str, str] | None = None) -> AsyncIterator[Any]:
        """The answers to a question: at once, then each time that they may be others. Raises AnswerError."""
        index = 0
        while True:
            waits = {"index": str(index), "wait": f"{self._wait_s:g}s"} if index else {}
            wait_s = self._wait_s * 17 / 16 + SLACK_S if index else 0.0
            begin = time.monotonic()
            answer, found = await self._ask(path, {**(query or {}), **waits}, [], wait_s)
            if found != index or not index:
                yield answer
            # An index that goes back is that of another, or restored, server.
            index = max(1, found) if found >= index else 0
            await asyncio.sleep(max(0.0, begin + QUIET_S - time.monotonic()))

    async def _ask(
        self, path: str, query: dict[str, str], missing: Any, wait_s: float = 0.0, is_all: bool = False
    ) -> tuple[Any, int]:
        accept = (200,) if missing is None else (200, 404)
        status, headers, body = await self._web.get(path, {**self._query, **query}, accept, wait_s=wait_s)
        index = headers.get(self._index, "")
        found = int(index) if index.isascii() and index.isdigit() else 0
        try:
            answer = missing if status == 404 else read_json(body)
        except ValueError as error:
            raise AnswerError(f"an answer to {path} is no JSON: {error}") from None
        if is_all and not answer and headers.get(self._filtered, "").lower() == "true":
            raise AnswerError("the token may not read any of it")
        return answer, found
