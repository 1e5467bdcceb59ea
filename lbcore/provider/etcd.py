"""`providers.etcd`: the keys below a root in etcd 3, by its JSON gateway, which needs no library of its own.

A reading asks for what has changed since the one before; all keys are read at first, and after a key was deleted.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from lbcore.config.json_text import read_json
from lbcore.config.static.providers import EtcdProvider
from lbcore.errors import ConfigError, Problem
from lbcore.provider.follow import Reading
from lbcore.provider.keys import KeyReader
from lbcore.provider.web import SIZE_LIMIT_BYTES, AnswerError, WebClient, host_and_port

AGAIN_S = 30.0  # what a watch does not tell is seen by then: a member that hangs
CALL_S = 30.0  # for an answer of any member, ...
MEMBER_S = 10.0  # ... each of which is waited for this long
ANSWER_LIMIT_BYTES = 2 * SIZE_LIMIT_BYTES  # keys and values are in base64, with numbers beside each
UNAUTHENTICATED = 401
# A member that has lost its cluster ends its watches, instead of saying nothing.
_NEEDS_LEADER = {"Grpc-Metadata-hasleader": "true"}

Answer = dict[str, Any]
T = TypeVar("T")


class EtcdStore:
    """Keys in etcd. Raises ConfigError for settings that cannot be used."""

    name = "etcd"

    def __init__(self, settings: EtcdProvider) -> None:
        self._settings = settings
        root = settings.root_key.strip("/")
        scheme = "https" if settings.tls is not None else "http"
        self._members = []
        for endpoint in settings.endpoints:
            host_and_port("providers.etcd.endpoints", endpoint)
            url = f"{scheme}://{endpoint}"
            self._members.append(WebClient(self.name, "etcd", url, tls=settings.tls, waits_s=MEMBER_S))
        self._member = random.randrange(len(self._members))  # that is asked first
        self._reader = KeyReader(root, self.name)
        first = f"{root}/".encode()
        # All keys that begin so: up to the same with its last byte one higher.
        self._range = {"key": _to_text(first), "range_end": _to_text(first[:-1] + bytes([first[-1] + 1]))}
        self._revision = 0  # of the cluster, as of which the reader knows all keys; 0: they were not read yet
        self._token = ""

    @property
    def place(self) -> str:
        return ", ".join(self._settings.endpoints)

    async def close(self) -> None:
        """Close the connections."""
        for member in self._members:
            await member.close()

    async def changes(self) -> AsyncIterator[None]:
        """See Store."""
        if self._settings.username and not self._token:
            await self._log_in()
        member = self._members[self._member]
        watch = {"create_request": self._range}
        try:
            headers = self._headers() | _NEEDS_LEADER
            async with member.lines("/v3/watch", headers=headers, data=watch, cuts=True) as lines:
                async for line in lines:
                    result = _result(line)
                    if result.get("canceled"):
                        raise AnswerError(str(result.get("cancel_reason") or "it has ended the watch"))
                    if result.get("created"):
                        self._revision = 0  # it may be another cluster by now
                    yield
        except AnswerError:
            self._token = ""
            self._go_on()
            raise

    async def read(self) -> Reading:
        """See Store."""
        again_s = AGAIN_S * random.uniform(0.9, 1.1)
        try:
            async with asyncio.timeout(CALL_S):
                if (changed := await self._changed()) is not None:
                    return await asyncio.to_thread(self._reader.update, changed, (), again_s)
                known = await self._all()
        except TimeoutError:
            self._go_on()
            raise
        return await asyncio.to_thread(self._reader.read, known, again_s)

    async def _changed(self) -> dict[str, str] | None:
        """What has changed since the reader was told all; None: all has to be read."""
        if not self._revision:
            return None
        answer = await self._ask("/v3/kv/range", {**self._range, "min_mod_revision": str(self._revision + 1)})
        revision, changed = _revision(answer), _pairs(answer)
        # A cluster that was restored has an older revision, and one that was made anew other keys.
        number = len(self._reader.values) + sum(key not in self._reader.values for key in changed)
        is_all = number == int(answer.get("count") or 0)
        if revision < self._revision or not is_all or self._reader.size_with(changed) > SIZE_LIMIT_BYTES:
            return None
        self._revision = revision
        return changed

    async def _all(self) -> dict[str, str]:
        answer = await self._ask("/v3/kv/range", self._range)
        known = _pairs(answer)
        if sum(map(len, known)) + sum(map(len, known.values())) > SIZE_LIMIT_BYTES:
            raise ConfigError([Problem("", f"keys and values are larger than {SIZE_LIMIT_BYTES >> 20} MiB")])
        self._revision = _revision(answer)
        return known

    async def _ask(self, path: str, data: Answer) -> Answer:
        """The answer of the first member that has one."""
        for _ in self._members[1:]:
            try:
                return await self._logged_in(lambda: self._ask_one(path, data))
            except AnswerError as error:
                if 0 < error.status < 500:
                    raise
                self._go_on()
        return await self._logged_in(lambda: self._ask_one(path, data))

    async def _ask_one(self, path: str, data: Answer) -> Answer:
        member, headers = self._members[self._member], self._headers()
        _, _, body = await member.get(path, headers=headers, data=data, limit_bytes=ANSWER_LIMIT_BYTES)
        try:
            answer = read_json(body)
        except ValueError as error:
            raise AnswerError(f"an answer is no JSON: {error}") from None
        if not isinstance(answer, dict):
            raise AnswerError("an answer is no JSON object")
        return answer

    async def _logged_in(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call, with a token of the user if there is one. A token that is not valid any more is new."""
        if not self._settings.username:
            return await call()
        if self._token:
            try:
                return await call()
            except AnswerError as error:
                if error.status != UNAUTHENTICATED:
                    raise
        await self._log_in()
        return await call()

    async def _log_in(self) -> None:
        self._token = ""
        user = {"name": self._settings.username, "password": self._settings.password}
        self._token = str((await self._ask_one("/v3/auth/authenticate", user)).get("token") or "")

    def _headers(self) -> dict[str, str]:
        return {"Authorization": self._token} if self._token else {}

    def _go_on(self) -> None:
        self._member = (self._member + 1) % len(self._members)


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_text(text: str) -> str:
    return base64.b64decode(text).decode(errors="replace")


def _revision(answer: Answer) -> int:
    return int((answer.get("header") or {}).get("revision") or 0)


def _pairs(answer: Answer) -> dict[str, str]:
    """Values by key."""
    return {_from_text(pair["key"]): _from_text(pair.get("value", "")) for pair in answer.get("kvs") or []}


def _result(line: bytes) -> Answer:
    """An event of a watch; empty for one that is cut, because its values are large."""
    try:
        event = read_json(line)
    except ValueError:
        return {}
    if isinstance(event, dict) and isinstance(event.get("error"), dict):
        raise AnswerError(str(event["error"].get("message") or "it has ended the watch"))
    result = event.get("result") if isinstance(event, dict) else None
    return result if isinstance(result, dict) else {}
