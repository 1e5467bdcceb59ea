"""Answers to the challenges http-01 and tls-alpn-01, which the workers of this instance give."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

from lbcore.acme.keys import as_address, challenge_certificate
from lbcore.acme.solving import Challenge, OrderError, Solver, Stop, StoppedError
from lbcore.acme.storage import Answers as Shared
from lbcore.acme.storage import Storage, StorageError
from lbcore.acme.threads import in_thread

Texts = Mapping[str, str]
Certificates = Mapping[str, tuple[str, str]]
SetChallenges = Callable[[Texts, Certificates], Awaitable[None]]
PUBLISH_S = 10.0  # limit until all workers answer
LOOK_S = 0.5  # between two looks at the answers of other instances
SAY_S = 5.0  # between two signs of life for other instances
ACKNOWLEDGED_POLL_S = 0.1
ACKNOWLEDGED_S = 20.0  # limit until the other instances give an answer: one of them may have died

_log = logging.getLogger("lbcore.acme")


class Answers:
    """The present answers. Threads of orders change them; the loop sends them to the workers.

    set_challenges  makes the workers give these answers, and no others: texts of http-01 by token, and certificates and
                    keys of tls-alpn-01 by name.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, set_challenges: SetChallenges) -> None:
        self._loop = loop
        self._set_challenges = set_challenges
        self._changing = threading.Lock()
        self._sending = asyncio.Lock()
        self._texts: dict[str, str] = {}
        self._certificates: dict[str, tuple[str, str]] = {}
        self._of_others: dict[str, Shared] = {}  # by storage

    def add(self, texts: Texts, certificates: Certificates) -> None:
        """Add answers. Returns when all workers give them. Raises OrderError and StoppedError."""
        with self._changing:
            self._texts |= texts
            self._certificates |= certificates
        try:
            asyncio.run_coroutine_threadsafe(self._send(), self._loop).result(PUBLISH_S)
        except concurrent.futures.TimeoutError:
            raise OrderError("the workers do not answer challenges", is_temporary=True) from None
        except (RuntimeError, concurrent.futures.CancelledError):
            raise StoppedError from None

    def remove(self, tokens: Sequence[str], names: Sequence[str]) -> None:
        """Stop giving these answers. Does not wait."""
        with self._changing:
            for token in tokens:
                self._texts.pop(token, None)
            for name in names:
                self._certificates.pop(name, None)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            asyncio.run_coroutine_threadsafe(self._send(), self._loop)

    async def follow(self, storage: Storage, owner: str) -> None:
        """Give the answers of the other instances that share a storage, until cancelled. `owner`: this instance."""
        said, said_at = -1, 0.0
        while True:
            try:
                version, found = await in_thread(storage.shared, owner)
                if found != self._of_others.get(storage.place, ({}, {})):
                    self._of_others[storage.place] = found
                    await self._send()
                if version != said or self._loop.time() - said_at > SAY_S:
                    await in_thread(storage.acknowledge, owner, version)
                    said, said_at = version, self._loop.time()
            except StorageError as error:
                _log.debug("the answers of other instances are unknown: %s", error)
            await asyncio.sleep(LOOK_S)

    async def _send(self) -> None:
        async with self._sending:
            with self._changing:
                texts, certificates = dict(self._texts), dict(self._certificates)
            for others in self._of_others.values():
                texts, certificates = others[0] | texts, others[1] | certificates
            await self._set_challenges(texts, certificates)


class Sharing:
    """The answers of this instance, in a storage where other instances read them."""

    def __init__(self, storage: Storage, owner: str) -> None:
        self._storage = storage
        self._owner = owner
        self._changing = threading.Lock()
        self._texts: dict[str, str] = {}
        self._certificates: dict[str, tuple[str, str]] = {}

    def add(self, texts: Texts, certificates: Certificates, stop: Stop) -> None:
        """Add answers. Returns when all instances give them, or ACKNOWLEDGED_S later. Raises StorageError."""
        with self._changing:
            self._texts |= texts
            self._certificates |= certificates
            version = self._storage.share(self._owner, (self._texts, self._certificates))
        give_up = time.monotonic() + ACKNOWLEDGED_S
        while not self._storage.are_acknowledged(version) and time.monotonic() < give_up:
            stop.wait(ACKNOWLEDGED_POLL_S)

    def remove(self, tokens: Sequence[str], names: Sequence[str]) -> None:
        """Take answers back. Never raises: they end by themselves."""
        with self._changing, contextlib.suppress(StorageError):
            for token in tokens:
                self._texts.pop(token, None)
            for name in names:
                self._certificates.pop(name, None)
            self._storage.share(self._owner, (self._texts, self._certificates))


class HttpSolver(Solver):
    """http-01. `sharing`: other instances answer, too."""

    kinds = ("http-01",)

    def __init__(self, answers: Answers, delay: timedelta, sharing: Sharing | None = None) -> None:
        self._answers = answers
        self._sharing = sharing
        self._delay_s = delay.total_seconds()

    def present(self, challenges: Sequence[Challenge], stop: Stop) -> None:
        """Make the workers answer."""
        texts = {challenge.token: challenge.authorization for challenge in challenges}
        self._answers.add(texts, {})
        if self._sharing is not None:
            self._sharing.add(texts, {}, stop)
        stop.wait(self._delay_s)

    def clean(self, challenges: Sequence[Challenge]) -> None:
        """Make the workers stop answering."""
        tokens = [challenge.token for challenge in challenges]
        self._answers.remove(tokens, [])
        if self._sharing is not None:
            self._sharing.remove(tokens, [])


class TlsSolver(Solver):
    """tls-alpn-01. `sharing`: other instances answer, too."""

    kinds = ("tls-alpn-01",)

    def __init__(self, answers: Answers, delay: timedelta, sharing: Sharing | None = None) -> None:
        self._answers = answers
        self._sharing = sharing
        self._delay_s = delay.total_seconds()

    def present(self, challenges: Sequence[Challenge], stop: Stop) -> None:
        """Make the workers answer."""
        made = {
            _asked_name(challenge.name): challenge_certificate(challenge.name, challenge.authorization)
            for challenge in challenges
        }
        self._answers.add({}, made)
        if self._sharing is not None:
            self._sharing.add({}, made, stop)
        stop.wait(self._delay_s)

    def clean(self, challenges: Sequence[Challenge]) -> None:
        """Make the workers stop answering."""
        names = [_asked_name(challenge.name) for challenge in challenges]
        self._answers.remove([], names)
        if self._sharing is not None:
            self._sharing.remove([], names)


def _asked_name(name: str) -> str:
    """The server name (SNI) of a validation: for an address, its reverse name in the DNS (RFC 8738, section 6)."""
    address = as_address(name)
    return name.lower() if address is None else address.reverse_pointer
