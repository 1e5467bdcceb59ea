"""What a source of dynamic configuration is, and how the sources become one configuration."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lbcore.config.dynamic import DynamicConfig
from lbcore.provider.merge import merge

FIRST_S = 5.0  # how long a provider is waited for at the start when others are ready
RESTART_S = (1.0, 30.0)  # wait before a provider that failed is started again: first and longest

_log = logging.getLogger("lbcore.provider")


@dataclass(frozen=True, slots=True)
class Update:
    """The whole configuration of one provider, valid on its own. Names in it are as the provider has them.

    config    None: what the provider gave before stays.
    problems  why it does; logged by the provider.
    """

    provider: str
    config: DynamicConfig | None
    problems: tuple[str, ...] = ()


Publish = Callable[[Update], None]


class Provider(Protocol):
    """A source of configuration. It drops what is not new, refuses what is not valid and says so in the log."""

    @property
    def name(self) -> str:
        """What its names are qualified with: `web` becomes `web@file`."""

    async def run(self, publish: Publish) -> None:
        """Publish each new configuration until cancelled; the first soon, an empty one where nothing can be read."""

    def reload(self) -> None:
        """Read again now and publish although nothing may have changed: an operator asks for it."""


class Aggregator:
    """Runs the providers, merges what they last published, and hands on the result.

    accept   called with each merged configuration: first when every provider has published once, or FIRST_S have
    passed.
    refused  called with the problems of all providers whenever those of one have changed.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        accept: Callable[[DynamicConfig], None],
        refused: Callable[[list[str]], None] = lambda problems: None,
    ) -> None:
        self._providers = list(providers)
        self._accept = accept
        self._refused = refused
        self._latest: dict[str, DynamicConfig] = {}
        self._problems: dict[str, tuple[str, ...]] = {}
        self._late = False  # those that have not published yet are not waited for any more
        self.complete = asyncio.Event()  # a configuration was handed on

    async def run(self) -> None:
        """Run all providers until cancelled."""
        if not self._providers:
            _log.warning("no provider is configured: there is nothing to route to but lbcore's own services")
            self._hand_on()
        async with asyncio.TaskGroup() as group:
            for provider in self._providers:
                group.create_task(self._keep_running(provider), name=f"provider {provider.name}")
            group.create_task(self._start_without())
            await asyncio.Event().wait()  # until cancelled

    def reload(self) -> None:
        """Ask every provider to read again."""
        for provider in self._providers:
            provider.reload()

    async def _start_without(self) -> None:
        """One provider that hangs does not keep the others from being served."""
        await asyncio.sleep(FIRST_S)
        self._late = True
        missing = [provider.name for provider in self._providers if provider.name not in self._latest]
        if missing:
            text = "provider %s has given no configuration within %g s: starting without it"
            _log.warning(text, ", ".join(missing), FIRST_S)
            self._hand_on()

    async def _keep_running(self, provider: Provider) -> None:
        wait_s, longest_s = RESTART_S
        while True:
            try:
                await provider.run(self._published)
            except Exception as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                _log.error("provider %s failed, starting it again in %g s: %s", provider.name, wait_s, reason)
                _log.debug("provider %s failed", provider.name, exc_info=error)
                self._note_problems(provider.name, (f"provider {provider.name} failed: {reason}",))
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, longest_s)

    def _published(self, update: Update) -> None:
        self._note_problems(update.provider, update.problems)
        if update.config is None:
            return
        self._latest[update.provider] = update.config
        if self._late or len(self._latest) == len(self._providers):
            self._hand_on()

    def _note_problems(self, provider: str, problems: tuple[str, ...]) -> None:
        if self._problems.get(provider, ()) != problems:
            self._problems[provider] = problems
            self._refused([problem for name in sorted(self._problems) for problem in self._problems[name]])

    def _hand_on(self) -> None:
        self._accept(merge(self._latest))
        self.complete.set()
