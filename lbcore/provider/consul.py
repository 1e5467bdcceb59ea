"""`providers.consul`: the keys below a root in Consul."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from lbcore.config.static.providers import ConsulProvider
from lbcore.errors import ConfigError, Problem
from lbcore.provider.consul_api import AgentClient
from lbcore.provider.follow import Reading
from lbcore.provider.keys import KeyReader
from lbcore.provider.web import SIZE_LIMIT_BYTES, WebClient, host_and_port

AGAIN_S = 60.0  # what a blocking query does not tell is seen by then
CALL_S = 30.0
WAIT_S = 15.0


class ConsulStore:
    """Keys in Consul. Raises ConfigError for settings that cannot be used.

    namespace  of Consul Enterprise; empty: that of the token.
    """

    def __init__(self, settings: ConsulProvider, namespace: str) -> None:
        self.name = f"consul-{namespace}" if namespace else "consul"
        self._root = settings.root_key.strip("/")
        [endpoint] = settings.endpoints
        host_and_port("providers.consul.endpoints", endpoint)
        web = WebClient(
            "consul",
            "consul",
            f"{'https' if settings.tls is not None else 'http'}://{endpoint}",
            tls=settings.tls,
            headers={"X-Consul-Token": settings.token} if settings.token else {},
            waits_s=CALL_S,
        )
        self._client = AgentClient(web, {"ns": namespace} if namespace else {}, "x-consul", WAIT_S)
        self._path = f"/v1/kv/{quote(self._root)}/"
        self._reader = KeyReader(self._root, self.name)

    @property
    def place(self) -> str:
        return self._client.place

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def changes(self) -> AsyncIterator[None]:
        """See Store. The names at the top are asked for, whose index is that of all keys below.

        Consul does not tell of the deletion of a tree to those who watch a part of it: the slash is left out for that
        of the root. If the tree was larger, the index is lower at the end of a wait.
        """
        async for _ in self._client.blocks(self._path.rstrip("/"), {"keys": "", "separator": "/"}):
            yield

    async def read(self) -> Reading:
        """See Store."""
        async with asyncio.timeout(CALL_S):
            pairs = await self._client.ask(self._path, {"recurse": ""}, missing=[], is_all=True)
            if not pairs:
                # Keys that the token may not read are left out of a list. A key that it may not read is refused.
                await self._client.ask(f"{self._path}http", missing={})
        again_s = AGAIN_S * random.uniform(0.9, 1.1)
        return await asyncio.to_thread(self._reading, pairs, again_s)

    def _reading(self, pairs: Any, again_s: float) -> Reading:
        if not isinstance(pairs, list):
            raise ConfigError([Problem("", "the answer is no list of keys")])
        # A key that ends with a slash is a folder, as the web page of Consul makes them.
        texts = {str(pair["Key"]): str(pair.get("Value") or "") for pair in pairs if not str(pair["Key"]).endswith("/")}
        if sum(map(len, texts)) + sum(map(len, texts.values())) > SIZE_LIMIT_BYTES * 4 // 3:
            raise ConfigError([Problem("", f"keys and values are larger than {SIZE_LIMIT_BYTES >> 20} MiB")])
        values = {key: base64.b64decode(text).decode(errors="replace") for key, text in texts.items()}
        return self._reader.read(values, again_s)
