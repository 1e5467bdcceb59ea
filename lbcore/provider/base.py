"""What a source of dynamic configuration is, and how the sources become one configuration."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lbcore.config.dynamic import DynamicConfig
from lbcore.errors import ConfigError
from lbcore.provider.merge import merge

RESTART_S = (1.0, 30.0)  # wait before a provider that failed is started again: first and longest

_log = logging.getLogger("lbcore.provider")


@dataclass(frozen=True, slots=True)
class Update:
    """The whole configuration of one provider, valid on its own. Names in it are as the provider has them."""

    provider: str
    config: DynamicConfig


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

    accept  called with each merged configuration, first when every provider has published once. It may raise
            ConfigError: then the problems are logged and what ran before runs on.
    """

    def __init__(self, providers: Sequence[Provider], accept: Callable[[DynamicConfig], None]) -> None:
        self._providers = list(providers)
        self._accept = accept
        self._latest: dict[str, DynamicConfig] = {}
        self.complete = asyncio.Event()  # every provider has published

    async def run(self) -> None:
        """Run all providers until cancelled."""
        if not self._providers:
            self._accept(DynamicConfig())
            self.complete.set()
        async with asyncio.TaskGroup() as group:
            for provider in self._providers:
                group.create_task(self._keep_running(provider), name=f"provider {provider.name}")

    def reload(self) -> None:
        """Ask every provider to read again."""
        for provider in self._providers:
            provider.reload()

    async def _keep_running(self, provider: Provider) -> None:
        wait_s, longest_s = RESTART_S
        while True:
            try:
                await provider.run(self._published)
            except Exception:
                _log.exception("provider %s failed, starting it again in %g s", provider.name, wait_s)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, longest_s)

    def _published(self, update: Update) -> None:
        self._latest[update.provider] = update.config
        if len(self._latest) < len(self._providers):
            return
        try:
            self._accept(merge(self._latest))
        except ConfigError as error:
            for problem in error.problems:
                _log.error("configuration of provider %s refused: %s", update.provider, problem)
        except Exception:
            _log.exception("configuration of provider %s cannot be used", update.provider)
        self.complete.set()
