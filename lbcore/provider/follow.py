"""The mechanism of providers that read a store: when to read, when to publish, and what stays if something is wrong.

    changes ─► settle (SETTLE_S) ─► throttle ─► read ─► unchanged? ─► empty? ─► publish
       ▲                                         │ error
       └──────────────── back off ◄──────────────┘     what was published stays

Stores implement `Store`; nothing else has to be written for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from lbcore.config.blocking import BlockedError, BlockingCalls
from lbcore.config.dynamic import DynamicConfig
from lbcore.errors import ConfigError, PartProblem
from lbcore.provider.base import Publish, Update
from lbcore.tls.material import files_of, has_texts, settle

SETTLE_S = 0.05  # changes within this time of each other count as one, ...
SETTLE_LONGEST_S = 0.25  # ... for this time at most
FIRST_WAIT_S = 0.5  # before the first attempt after a failure; each following one waits longer ...
WAIT_FACTOR = 1.5
LONGEST_WAIT_S = 10.0  # ... up to this
JITTER = 0.5  # part of a wait by which it is longer or shorter, so that instances do not ask in step
LOG_AGAIN_S = 60.0  # the same failure is logged once in this time
EMPTY_AGAIN_S = 5.0  # an empty store is read again after this time, ...
EMPTY_READS = 3  # ... and believed when it was empty this many times in a row
MATERIAL_S = 30.0  # timeout of reading the files that `tls` names


@dataclass(frozen=True, slots=True)
class Reading:
    """What a store holds now.

    problems  parts of it that cannot be used, which do not hinder the others.
    warnings  texts about what runs but is probably not intended.
    again_s   the store wants to be read again after this time, whether or not it changes; None: it does not.
    """

    config: DynamicConfig
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    again_s: float | None = None


class Store(Protocol):
    """Where a provider finds its configuration."""

    @property
    def name(self) -> str:
        """The suffix of its names: `web` becomes `web@docker`."""

    @property
    def place(self) -> str:
        """Where it is, for messages; without credentials."""

    def changes(self) -> AsyncIterator[None]:
        """Yield when it is being watched, and each time that something may have changed. Raises if it is lost.

        What changes after the first yield is yielded, so that a read that follows misses nothing.
        """

    async def read(self) -> Reading:
        """All that it holds. Raises what went wrong; ConfigError if it holds nothing that can be read."""

    async def close(self) -> None:
        """Release its connections. It may be used again."""


class Backoff:
    """Waits that become longer, with jitter."""

    def __init__(self) -> None:
        self._wait_s = FIRST_WAIT_S

    def reset(self) -> None:
        self._wait_s = FIRST_WAIT_S

    def next_s(self) -> float:
        """The time to wait now."""
        wait_s, self._wait_s = self._wait_s, min(self._wait_s * WAIT_FACTOR, LONGEST_WAIT_S)
        return wait_s * random.uniform(1 - JITTER, 1 + JITTER)


class StoreProvider:
    """Publishes what a store holds, and follows it.

    watch        follow changes; otherwise the store is read at the start and on `reload`.
    throttle     least time between two publications. The first change is published at once, later ones wait.
    allow_empty  believe at once that a store holds nothing; otherwise when it was read several times.
    """

    def __init__(self, store: Store, *, throttle: timedelta, watch: bool = True, allow_empty: bool = False) -> None:
        self._store = store
        self._throttle_s = throttle.total_seconds()
        self._watch = watch
        self._allow_empty = allow_empty
        self._current: DynamicConfig | None = None
        self._plain: DynamicConfig | None = None  # that was read last, if it names none of what `settle` reads
        self._problems: tuple[str, ...] = ()  # of the last reading
        self._warned: tuple[str, ...] = ()
        self._broken = ""  # the reason why the store cannot be read now
        self._logged: tuple[str, float] = ("", 0.0)  # the failure that was logged last, and when
        self._empty_reads = 0
        self._published_at = float("-inf")
        self._calls = BlockingCalls()
        self._changed = asyncio.Event()
        self._forced = asyncio.Event()
        self._log = logging.getLogger(f"lbcore.provider.{store.name}")

    @property
    def name(self) -> str:
        return self._store.name

    def reload(self) -> None:
        """Read again now, and publish even if nothing has changed."""
        self._forced.set()
        self._changed.set()

    async def run(self, publish: Publish) -> None:
        """Publish until cancelled. Nothing is published before the store could be read once."""
        watching = asyncio.create_task(self._keep_watching(publish)) if self._watch else None
        backoff = Backoff()
        again: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()
        if watching is None:
            self._changed.set()
        try:
            while True:
                await self._due()
                forced = self._forced.is_set()
                self._forced.clear()
                self._changed.clear()
                if again is not None:
                    again.cancel()
                    again = None
                try:
                    reading = await self._settled(await self._store.read())
                except Exception as error:
                    self._fail(publish, error)
                    again = loop.call_later(backoff.next_s(), self._changed.set)
                    continue
                backoff.reset()
                self._recovered()
                wait_s = self._handle(publish, reading, forced)
                if wait_s is not None:
                    again = loop.call_later(wait_s, self._changed.set)
        finally:
            if again is not None:
                again.cancel()
            if watching is not None:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
            await self._store.close()

    async def _settled(self, reading: Reading) -> Reading:
        """The reading with the contents of the files and texts that its `tls` names, and with what is wrong there.

        Raises ConfigError, and OSError if files do not answer, as on a dead network mount.
        """
        if wrong := tuple(_faults_of_tls(reading.config)):
            reading = replace(reading, problems=(*reading.problems, *wrong))
        if self._plain is not None and not has_texts(reading.config, self._plain):
            self._plain = reading.config
            return reading
        key = "\n".join(map(str, files_of(reading.config)))  # files that do not answer hold up no others
        try:
            config, problems = await self._calls.run(key, MATERIAL_S, lambda: settle(reading.config, self._current))
        except BlockedError:
            raise OSError("the files of certificates and authorities do not answer") from None
        self._plain = config if config is reading.config else None
        lost = tuple(str(problem) for problem in problems if problem.severity != "warning")
        strange = tuple(str(problem) for problem in problems if problem.severity == "warning")
        return replace(
            reading, config=config, problems=(*reading.problems, *lost), warnings=(*reading.warnings, *strange)
        )

    def _handle(self, publish: Publish, reading: Reading, forced: bool) -> float | None:
        """Publish a reading if it is new. Returns the time after which the store has to be read again."""
        config: DynamicConfig | None = reading.config
        wait_s = reading.again_s
        problems: tuple[str, ...] = tuple(map(PartProblem, reading.problems))
        running = self._current
        if reading.config.is_empty and running is not None and not running.is_empty and not self._allow_empty:
            self._empty_reads += 1
            if self._empty_reads < EMPTY_READS and not forced:
                if self._empty_reads == 1:
                    self._log.warning("%s is empty: what runs stays until that is certain", self._store.place)
                problems += (f"{self._store.place} is empty: what runs stays until that is certain",)
                config, wait_s = None, min(wait_s or EMPTY_AGAIN_S, EMPTY_AGAIN_S)
            else:
                self._log.warning("%s is empty: nothing of it runs any more", self._store.place)
        else:
            self._empty_reads = 0
        if config is not None and config == running and not forced:
            config = None
        for problem in problems:
            if problem not in self._problems:
                self._log.error("configuration: %s", problem)
        for warning in reading.warnings:
            if warning not in self._warned:
                self._log.warning("configuration: %s", warning)
        self._problems, self._warned = problems, reading.warnings
        if config is not None:
            self._empty_reads = 0
            self._current = config
            self._published_at = time.monotonic()
        publish(Update(self.name, config, problems, is_read=True))
        return wait_s

    async def _keep_watching(self, publish: Publish) -> None:
        """Watch until cancelled; when the store is lost, connect again and read it."""
        backoff = Backoff()
        while True:
            try:
                async for _ in self._store.changes():
                    backoff.reset()
                    self._changed.set()
                raise ConnectionError("it does not say any more what changes")
            except Exception as error:
                self._fail(publish, error)
            await asyncio.sleep(backoff.next_s())

    def _fail(self, publish: Publish, error: Exception) -> None:
        """Record that the store cannot be read, or watched. The same reason is logged once a minute."""
        reason = reason_of(error)
        stays = "what runs stays" if self._current is not None else "nothing of it runs"
        now = time.monotonic()
        if self._logged[0] != reason or now - self._logged[1] > LOG_AGAIN_S:
            self._logged = (reason, now)
            self._log.error("provider %s: %s: %s, %s", self.name, self._store.place, reason, stays)
            self._log.debug("provider %s failed", self.name, exc_info=error)
        self._broken = reason
        problem = f"provider {self.name}: {self._store.place}: {reason}"
        publish(Update(self.name, None, (problem,), is_away=not isinstance(error, ConfigError)))

    def _recovered(self) -> None:
        if self._broken:
            self._log.info("provider %s: %s can be read again", self.name, self._store.place)
            self._broken, self._logged = "", ("", 0.0)

    async def _due(self) -> None:
        """Wait until something may have changed and settled, and the throttle has passed."""
        await self._changed.wait()
        end = time.monotonic() + SETTLE_LONGEST_S
        while not self._forced.is_set() and (rest_s := end - time.monotonic()) > 0:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(SETTLE_S, rest_s)):
                    await self._changed.wait()
            if not self._changed.is_set():
                break
        rest_s = self._published_at + self._throttle_s - time.monotonic()
        if rest_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._forced.wait()


def _faults_of_tls(config: DynamicConfig) -> Iterator[str]:
    """Why parts of `tls` cannot be used. They are no objects of the API, which would tell it."""
    for name, options in config.tls.options.items():
        yield from (f"TLS options {name}: {fault}" for fault in options.faults)
    for name, store in config.tls.stores.items():
        yield from (f"TLS store {name}: {fault}" for fault in store.faults)
    for certificate in config.tls.certificates:
        yield from (f"TLS certificate: {fault}" for fault in certificate.faults)


def reason_of(error: Exception) -> str:
    """Why a store cannot be read, in one line."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ConfigError):
        return "; ".join(map(str, error.problems))
    if isinstance(error, TimeoutError):
        return str(error) or "it does not answer"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
