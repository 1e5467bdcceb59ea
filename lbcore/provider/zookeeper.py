"""`providers.zooKeeper`: the nodes below a root in ZooKeeper.

A node tells once that it, or the list of its children, has changed. So each node is asked for with a watch, and only
those that have told of a change are asked for again. A lost connection has lost its watches: all is asked for again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from lbcore.config.blocking import BlockingCalls
from lbcore.config.static.providers import ZooKeeperProvider
from lbcore.errors import ConfigError, Problem
from lbcore.provider.follow import Reading
from lbcore.provider.keys import KeyReader
from lbcore.provider.web import SIZE_LIMIT_BYTES, host_and_port

if TYPE_CHECKING:
    from kazoo.client import KazooClient

CONNECT_S = 5.0
CALL_S = 60.0  # for all nodes
ANSWER_S = 10.0  # for each
SESSION_S = 6.0  # a server that says nothing is left after two thirds of this time
AGAIN_S = 60.0  # all nodes are asked for again after this time, because a server does not tell of a change to a ...
AGAIN_EACH_S = 0.0125  # ... user who may not see it just then; of many nodes later, which is 1 % of a processor
AT_ONCE = 500  # nodes of which the answers are waited for together
NAMED = 3  # nodes down to this depth (http, routers, web) are empty, and without children when all of these are gone


def library() -> Any:
    """The client. Raises ConfigError if it is not installed."""
    try:
        import kazoo.client
        import kazoo.exceptions
        import kazoo.retry
    except ImportError:
        hint = "type: pip install 'lbcore[zookeeper]'"
        raise ConfigError([Problem("providers.zooKeeper", "needs the package kazoo, which is missing", hint)]) from None
    # It logs lost connections, which are reported here, and, at its lowest level, passwords.
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    return kazoo


class ZooKeeperStore:
    """Nodes in ZooKeeper. Raises ConfigError for settings that cannot be used."""

    name = "zookeeper"

    def __init__(self, settings: ZooKeeperProvider) -> None:
        self._settings = settings
        self._library = library()
        for endpoint in settings.endpoints:
            host_and_port("providers.zooKeeper.endpoints", endpoint)
        root = settings.root_key.strip("/")
        self._root = f"/{root}"
        self._reader = KeyReader(root, self.name)
        self._client: KazooClient | None = None
        self._connecting = asyncio.Lock()
        self._calls = BlockingCalls()
        self._loop: asyncio.AbstractEventLoop | None = None  # in which the events below are heeded
        self._told = asyncio.Event()  # something has changed, or the connection is lost
        self._is_lost = False
        self._lock = threading.Lock()
        self._dirty: set[str] = set()  # nodes to be asked for; under `_lock`, because the client has its own threads
        self._children: dict[str, frozenset[str]] = {}  # of each node
        self._values: dict[str, str] = {}
        self._all_at = 0.0  # when all nodes were asked for
        self._synced: KazooClient | None = None  # whose server has caught up with the others

    @property
    def place(self) -> str:
        return ", ".join(self._settings.endpoints)

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            _end(client)

    async def changes(self) -> AsyncIterator[None]:
        """See Store."""
        try:
            await self._connect()
            yield
            while True:
                await self._told.wait()
                self._told.clear()
                if self._is_lost:
                    raise ConnectionError("the connection is lost")
                yield
        finally:
            await self.close()

    async def read(self) -> Reading:
        """See Store."""
        client = await self._connect()
        return await self._calls.run("zookeeper", CALL_S, lambda: self._reading(client))

    async def _connect(self) -> KazooClient:
        async with self._connecting:
            if self._client is not None:
                return self._client
            settings = self._settings
            loop = self._loop = asyncio.get_running_loop()
            user = f"{settings.username}:{settings.password}"
            client = self._library.client.KazooClient(
                hosts=",".join(settings.endpoints),
                timeout=SESSION_S,
                connection_retry=self._library.retry.KazooRetry(max_tries=-1, delay=0.1, max_delay=1.0),
                auth_data=[("digest", user)] if settings.username else None,
            )
            connected: asyncio.Future[None] = loop.create_future()

            def listen(state: str) -> None:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(self._heed, connected, state)

            client.add_listener(listen)
            client.start_async()
            try:
                async with asyncio.timeout(CONNECT_S):
                    await connected
            except BaseException:
                _end(client)
                raise
            self._is_lost = False
            self._told.clear()
            self._touch_all()
            self._client = client
            return client

    def _heed(self, connected: asyncio.Future[None], state: str) -> None:
        """A connection has another state now."""
        if state == "CONNECTED":
            if not connected.done():
                connected.set_result(None)
        elif connected.done():
            self._is_lost = True
            self._told.set()

    def _touch_all(self) -> None:
        """Ask for all nodes with the next reading."""
        self._all_at = time.monotonic()
        with self._lock:
            self._dirty.add(self._root)
            self._dirty |= self._children.keys()

    # In threads

    def _watch(self, event: Any) -> None:
        """A node has told of a change."""
        if event.type == "NONE" or not event.path or self._loop is None:
            return
        with self._lock:
            self._dirty.add(event.path)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._told.set)

    def _reading(self, client: KazooClient) -> Reading:
        again_s = max(AGAIN_S, AGAIN_EACH_S * len(self._children))
        if self._all_at + again_s <= time.monotonic():
            self._touch_all()
        self._update(client)
        if sum(map(len, self._values)) + sum(map(len, self._values.values())) > SIZE_LIMIT_BYTES:
            raise ConfigError([Problem("", f"keys and values are larger than {SIZE_LIMIT_BYTES >> 20} MiB")])
        return self._reader.read(self._values, max(0.0, self._all_at + again_s - time.monotonic()) + 0.01)

    def _update(self, client: KazooClient) -> None:
        """Ask for all nodes that may have changed, and for new nodes below them.

        A new connection may be one to a server that lags behind the others: what runs would go back to what was before.
        So this server has to catch up before it is first asked. Later on, it tells of changes in their order.
        """
        if self._synced is not client:
            client.sync_async(self._root).get(timeout=ANSWER_S)
            self._synced = client
        while True:
            with self._lock:
                asked = sorted(self._dirty)[:AT_ONCE]
                self._dirty.difference_update(asked)
            if not asked:
                return
            try:
                self._ask(client, asked)
            except BaseException:
                with self._lock:
                    self._dirty.update(asked)
                raise

    def _ask(self, client: KazooClient, paths: list[str]) -> None:
        missing = self._library.exceptions.NoNodeError
        values = [client.get_async(path, self._watch) for path in paths]
        lists = [client.get_children_async(path, self._watch) for path in paths]
        for path, value, children in zip(paths, values, lists, strict=True):
            try:
                data, _ = value.get(timeout=ANSWER_S)
                names = frozenset(children.get(timeout=ANSWER_S))
            except missing:
                self._drop(path)
                if path == self._root and client.exists_async(path, self._watch).get(timeout=ANSWER_S):
                    with self._lock:
                        self._dirty.add(path)  # it was made between the two questions
                continue
            except self._library.exceptions.NoAuthError:
                raise ConnectionError(f"{path} may not be read by this user") from None
            before = self._children.get(path, frozenset())
            for name in before - names:
                self._drop(f"{path}/{name}")
            with self._lock:
                self._dirty.update(f"{path}/{name}" for name in names - before)
            self._children[path] = names
            text = (data or b"").decode(errors="replace")
            depth = path[len(self._root) :].count("/")
            if text or (not names and depth > NAMED):
                self._values[path[1:]] = text
            else:
                self._values.pop(path[1:], None)

    def _drop(self, path: str) -> None:
        """Forget a node and all below it."""
        below = [path]
        while below:
            each = below.pop()
            below += [f"{each}/{name}" for name in self._children.pop(each, ())]
            self._values.pop(each[1:], None)


def _end(client: KazooClient) -> None:
    """End a client without waiting for it: it waits for its own threads, which may hang in a call."""

    def work() -> None:
        client.stop()
        client.close()

    threading.Thread(target=work, name="lbcore zookeeper end", daemon=True).start()
