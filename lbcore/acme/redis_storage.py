"""A storage in Redis or Valkey, which several instances share: certificates, accounts, holds, answers to challenges.

`redis://user:password@host:6379/0#name`: the contents of an `acme.json` are the value of a key, `name` tells storages
in one database apart. A hold ends by itself soon after its instance has died.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lbcore.acme.storage import Answers, Change, Edit, FileStorage, Hold, Signature, Storage, StorageError, parsed
from lbcore.config.json_text import read_json
from lbcore.config.network import is_redis
from lbcore.errors import message_of

LEASE_S = 45.0  # that a hold lasts without `keep`
WRITE_S = 30.0  # limit of a change
CALL_S = 5.0
LIVES_S = 15  # after which an instance that says nothing any more is taken for dead
ANSWERS_S = 900.0  # after which the answers of an instance that has died are dropped


def storage_of(text: str) -> Storage:
    """The storage that a configuration names. Raises StorageError."""
    return RedisStorage(text) if is_redis(text) else FileStorage(Path(text))


class RedisStorage(Storage):
    """Keys below `lbcore/acme/NAME`. Raises StorageError without the client library, or for a URL that is none."""

    is_shared = True

    def __init__(self, url: str) -> None:
        try:
            import redis
        except ImportError:
            text = "a storage in Redis needs the package redis: type pip install 'lbcore[redis]'"
            raise StorageError(text) from None
        address, _, name = url.partition("#")
        self._errors: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        limits: dict[str, Any] = {"socket_timeout": CALL_S, "socket_connect_timeout": CALL_S}
        try:
            parts = urlsplit(address)
            self._client: Any = redis.Redis.from_url(address, decode_responses=True, **limits)
        except (ValueError, TypeError):  # whose text may hold a part of the password
            text = "the URL cannot be used: write redis://USER:PASSWORD@HOST:6379/0#NAME"
            raise StorageError(text) from None
        host = parts.netloc.rpartition("@")[2]  # without the password
        self.place = f"{parts.scheme}://{host}{parts.path}#{name or 'default'}"
        self._key = f"lbcore/acme/{name or 'default'}"

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """A context in which errors of the client are StorageErrors."""
        try:
            yield
        except self._errors as error:
            text = message_of(error)
            raise StorageError(f"{self.place} cannot be reached: {text}", is_away=True) from None

    def open(self) -> None:
        self.read_all()

    def read_all(self) -> dict[str, Any]:
        return self._read()[0]

    def _read(self) -> tuple[dict[str, Any], Signature]:
        """The contents, and their signature."""
        with self._told(), self._client.pipeline(transaction=True) as together:
            together.get(self._key)
            together.get(f"{self._key}/version")
            data, version = together.execute()
        return parsed((data or "").encode(), self.place), _signature(version)

    def signature(self) -> Signature:
        try:
            with self._told():
                return _signature(self._client.get(f"{self._key}/version"))
        except StorageError:
            return ()

    def hold(self, name: str) -> Hold | None:
        with self._told():
            lock = self._client.lock(f"{self._key}/hold/{name}", timeout=LEASE_S, thread_local=False)
            return _RedisHold(lock, self._errors) if lock.acquire(blocking=False) else None

    def _change(self, edit: Edit) -> Change:
        with self._told():
            lock = self._client.lock(f"{self._key}/write", timeout=WRITE_S, thread_local=False, sleep=0.02)
            if not lock.acquire(blocking_timeout=WRITE_S):
                raise StorageError(f"{self.place}: another instance has been writing for {WRITE_S:g} s", is_away=True)
        try:
            content, before = self._read()
            text = json.dumps(content)
            edit(content)
            changed = json.dumps(content)
            if changed == text:
                return Change(before, before)
            with self._told(), self._client.pipeline(transaction=True) as together:
                together.set(self._key, changed)
                together.incr(f"{self._key}/version")
                return Change(before, _signature(together.execute()[-1]))
        finally:
            with contextlib.suppress(*self._errors):
                lock.release()

    def share(self, owner: str, answers: Answers) -> int:
        texts, certificates = answers
        with self._told(), self._client.pipeline(transaction=True) as together:
            if texts or certificates:
                entry = {"texts": texts, "certificates": certificates, "until": time.time() + ANSWERS_S}
                together.hset(f"{self._key}/answers", owner, json.dumps(entry))
                together.expire(f"{self._key}/answers", int(ANSWERS_S))
            else:
                together.hdel(f"{self._key}/answers", owner)
            together.incr(f"{self._key}/answers/version")
            return int(together.execute()[-1])

    def shared(self, owner: str) -> tuple[int, Answers]:
        with self._told(), self._client.pipeline(transaction=True) as together:
            together.get(f"{self._key}/answers/version")
            together.hgetall(f"{self._key}/answers")
            version, entries = together.execute()
        texts: dict[str, str] = {}
        certificates: dict[str, tuple[str, str]] = {}
        for other, data in entries.items():
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                entry = read_json(data)
                if other != owner and float(entry["until"]) > time.time():
                    texts |= {str(token): str(text) for token, text in entry["texts"].items()}
                    certificates |= {name: (str(text), str(key)) for name, (text, key) in entry["certificates"].items()}
        return int(version or 0), (texts, certificates)

    def acknowledge(self, owner: str, version: int) -> None:
        with self._told(), self._client.pipeline(transaction=True) as together:
            together.sadd(f"{self._key}/instances", owner)
            together.set(f"{self._key}/instances/{owner}", version, ex=LIVES_S)
            together.execute()

    def are_acknowledged(self, version: int) -> bool:
        with self._told():
            owners = list(self._client.smembers(f"{self._key}/instances"))
            known = self._client.mget([f"{self._key}/instances/{owner}" for owner in owners]) if owners else []
            if gone := [owner for owner, seen in zip(owners, known, strict=True) if seen is None]:
                self._client.srem(f"{self._key}/instances", *gone)
        return all(int(seen) >= version for seen in known if seen is not None)


def _signature(version: Any) -> Signature:
    return (str(version or "0"),)


class _RedisHold(Hold):
    def __init__(self, lock: Any, errors: tuple[type[Exception], ...]) -> None:
        self._lock = lock
        self._errors = errors

    def keep(self) -> None:
        with contextlib.suppress(*self._errors):
            self._lock.extend(LEASE_S, replace_ttl=True)

    def release(self) -> None:
        with contextlib.suppress(*self._errors):
            self._lock.release()
