"""`providers.redis`: the keys below a root in Redis or Valkey, by way of Sentinel if that is wanted."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import socket
import time
from collections.abc import AsyncIterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lbcore.config.static.providers import RedisProvider
from lbcore.errors import ConfigError, Problem
from lbcore.provider.follow import Reading
from lbcore.provider.keys import KeyReader
from lbcore.provider.web import host_and_port
from lbcore.tls.clients import PEM, context_of

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

AGAIN_S = 30.0  # what no event tells is seen by then: FLUSHALL, lost events, a server that sends none
CONNECT_S = 5.0
CALL_S = 30.0
REFUSED_S = 60.0  # a user who may not listen to events tries again after this time
QUIET_S = 10.0  # a connection on which nothing came for so long is asked whether it is there, and has as long to answer
SIZE_LIMIT_BYTES = 64 << 20
AT_ONCE = 1000  # keys of one question
_EVENTS = "AKE"  # all events, of keys and of commands
_KEEP_ALIVE = {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}

_log = logging.getLogger("lbcore.provider.redis")


def library() -> ModuleType:
    """The client. Raises ConfigError if it is not installed."""
    try:
        import redis.asyncio
        import redis.asyncio.retry
        import redis.asyncio.sentinel
        import redis.backoff
    except ImportError:
        hint = "type: pip install 'lbcore[redis]'"
        raise ConfigError([Problem("providers.redis", "needs the package redis, which is missing", hint)]) from None
    return redis


class RedisStore:
    """Keys in Redis. Raises ConfigError for settings that cannot be used."""

    name = "redis"

    def __init__(self, settings: RedisProvider) -> None:
        self._settings = settings
        self._library = library()
        self._root = settings.root_key.strip("/")
        if settings.tls is not None:
            context_of(f"providers.{self.name}.tls", settings.tls)
            if PEM in settings.tls.cert or PEM in settings.tls.key:
                raise ConfigError([Problem("providers.redis.tls", "cert and key have to be files")])
        self._servers = [host_and_port("providers.redis.endpoints", each) for each in settings.endpoints]
        self._reader = KeyReader(self._root, self.name)
        self._all_at = float("-inf")  # all were read at this time
        self._changed: set[Any] = set()  # keys of which an event has told since the last reading
        self._client: Redis | None = None
        self._refused = False  # the server does not let events be turned on, which was logged
        self._deaf = False  # nor be listened to

    @property
    def place(self) -> str:
        return ", ".join(self._settings.endpoints)

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _open(self) -> Redis:
        if self._client is not None:
            return self._client
        settings, asyncio_redis = self._settings, self._library.asyncio
        limits: dict[str, Any] = {
            "socket_connect_timeout": CONNECT_S,
            "socket_keepalive": True,
            "socket_keepalive_options": _KEEP_ALIVE,
            # A connection that is lost is an error at once: one that was made again by itself would hide what changed
            # meanwhile, and that a server which has restarted sends no events any more.
            "retry": asyncio_redis.retry.Retry(self._library.backoff.NoBackoff(), 0),
        }
        secure: dict[str, Any] = {}
        if settings.tls is not None:
            secure = {"ssl": True, **_tls(settings.tls)}
        user = {"username": settings.username or None, "password": settings.password or None}
        if settings.sentinel is None:
            host, port = self._servers[0]
            self._client = asyncio_redis.Redis(host=host, port=port, db=settings.db, **user, **limits, **secure)
            return self._client
        of_sentinels = {"username": settings.sentinel.username or None, "password": settings.sentinel.password or None}
        sentinel = asyncio_redis.sentinel.Sentinel(
            self._servers,
            sentinel_kwargs={**of_sentinels, **limits, **secure},
            **user,
            **limits,
            **secure,
            db=settings.db,
        )
        find = sentinel.slave_for if settings.sentinel.replica_strategy else sentinel.master_for
        self._client = find(settings.sentinel.master_name)
        return self._client

    async def changes(self) -> AsyncIterator[None]:
        """See Store. Events are turned on at each connection, because a server that restarts forgets that.

        What is refused is tried again: meanwhile whether the server is there is seen by reading.
        """
        client, was_told = self._open(), False
        try:
            while True:
                await self._turn_on(client)
                async with client.pubsub() as events:
                    place = f"__keyspace@{self._settings.db}__:"
                    await events.psubscribe(f"{place}{_escaped(self._root)}/*")
                    if not was_told:
                        was_told, self._all_at = True, float("-inf")
                        yield
                    try:
                        async for key in _keys_of(events, place):
                            if key is not None:
                                self._hears()
                                self._changed.add(key)
                                yield
                            elif self._refused and await self._turn_on(client):
                                self._all_at = float("-inf")
                                yield
                    except self._library.exceptions.NoPermissionError as error:
                        if not self._deaf:
                            text = "provider redis: %s lets nobody listen to events (%s): changes are seen within %g s"
                            _log.warning(text, self.place, error, AGAIN_S)
                        self._deaf = True
                await asyncio.sleep(REFUSED_S)
        finally:
            await self.close()

    def _hears(self) -> None:
        """An event has come. Before the first one there may have been changes of which none has told."""
        if self._deaf:
            _log.info("provider redis: %s lets this user listen to events now", self.place)
            self._deaf, self._all_at = False, float("-inf")

    async def _turn_on(self, client: Redis) -> bool:
        """Have the server send events. Returns whether it does."""
        try:
            known = str((await client.config_get("notify-keyspace-events")).get("notify-keyspace-events") or "")
            wanted = "".join(sorted({*known, *_EVENTS}))
            if set(known) != set(wanted):
                await client.config_set("notify-keyspace-events", wanted)
            if self._refused:
                _log.info("provider redis: %s sends events now", self.place)
            self._refused = False
        except self._library.exceptions.ResponseError as error:
            if not self._refused:
                text = "provider redis: %s does not let events be turned on (%s): changes are seen within %g s"
                _log.warning(text, self.place, error, AGAIN_S)
            self._refused = True
        return not self._refused

    async def read(self) -> Reading:
        """See Store."""
        changed, self._changed = self._changed, set()
        now = time.monotonic()
        is_all = not changed or now - self._all_at >= AGAIN_S
        client = self._open()
        try:
            async with asyncio.timeout(CALL_S):
                names = list(changed)
                if is_all:
                    names = [name async for name in client.scan_iter(match=f"{_escaped(self._root)}/*", count=AT_ONCE)]
                known = await self._values(client, names)
        except BaseException:
            self._changed |= changed
            raise
        if is_all:
            self._all_at = now
        elif self._reader.size_with(known) > SIZE_LIMIT_BYTES:
            self._all_at = float("-inf")
            raise ConfigError([Problem("", f"keys and values are larger than {SIZE_LIMIT_BYTES >> 20} MiB")])
        again_s = max(1.0, self._all_at + AGAIN_S - now) * random.uniform(1.0, 1.1)
        if is_all:
            return await asyncio.to_thread(self._reader.read, known, again_s)
        gone = [name for name in map(_decoded, changed) if name not in known]
        return await asyncio.to_thread(self._reader.update, known, gone, again_s)

    async def _values(self, client: Redis, names: list[Any]) -> dict[str, str]:
        """The texts of keys. Other types, and keys without a value, are left out, as in Traefik."""
        found: dict[str, str] = {}
        size = 0
        for first in range(0, len(names), AT_ONCE):
            some = names[first : first + AT_ONCE]
            for name, value in zip(some, await client.mget(some), strict=True):
                if not value:
                    continue
                size += len(name) + len(value)
                if size > SIZE_LIMIT_BYTES:
                    raise ConfigError([Problem("", f"keys and values are larger than {SIZE_LIMIT_BYTES >> 20} MiB")])
                found[_decoded(name)] = _decoded(value)
        return found


async def _keys_of(events: PubSub, place: str) -> AsyncIterator[Any]:
    """The keys that events tell of; None: there was no event for a while.

    A connection on which nothing comes is asked: a network that was cut gives no sign, and of a connection that the
    kernel has given up the client says no more than that nothing came, at once. Raises TimeoutError if there is no
    answer.
    """
    asked = False
    while True:
        event = await events.get_message(timeout=QUIET_S)
        if event is None:
            if asked:
                raise TimeoutError
            await events.ping()
            yield None
        elif event["type"] == "pmessage":
            yield event["channel"][len(place) :]
        asked = event is None


def _decoded(data: Any) -> str:
    return data.decode(errors="replace") if isinstance(data, bytes) else str(data)


def _tls(tls: Any) -> dict[str, Any]:
    """The settings of TLS by the client's names."""
    found: dict[str, Any] = {"ssl_check_hostname": not tls.insecure_skip_verify}
    found["ssl_cert_reqs"] = "none" if tls.insecure_skip_verify else "required"
    if tls.ca:
        found["ssl_ca_data" if PEM in tls.ca else "ssl_ca_certs"] = tls.ca
    if tls.cert:
        found |= {"ssl_certfile": tls.cert, "ssl_keyfile": tls.key}
    return found


def _escaped(text: str) -> str:
    return re.sub(r"([\\*?\[\]^-])", r"\\\1", text)
