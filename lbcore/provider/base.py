"""The interface of providers, and the aggregator, which makes one configuration of all they publish."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lbcore.config.dynamic import DynamicConfig
from lbcore.errors import typed_message_of
from lbcore.provider.merge import Merger, merge
from lbcore.provider.state import ProviderState

FIRST_S = 5.0  # longest wait for a provider at the start if others are ready
RESTART_S = (1.0, 30.0)  # wait before a failed provider is restarted: first and longest

_log = logging.getLogger("lbcore.provider")


@dataclass(frozen=True, slots=True)
class Update:
    """The whole configuration of one provider, valid on its own, with names that are not qualified.

    config    None = the previous configuration of the provider stays.
    problems  the reasons for that, or parts that cannot be used. The provider has logged them.
    is_read   whether its source was read, if only to find what is known already.
    is_away   whether it could not be read at all: what is wrong is not what is written there.
    """

    provider: str
    config: DynamicConfig | None
    problems: tuple[str, ...] = ()
    is_read: bool = False
    is_away: bool = False


Publish = Callable[[Update], None]


class Provider(Protocol):
    """A source of configuration. It ignores what is not new, and refuses and logs what is not valid."""

    @property
    def name(self) -> str:
        """The suffix of its names: `web` becomes `web@file`."""

    async def run(self, publish: Publish) -> None:
        """Publish each new configuration until cancelled; at first, soon, an empty one if none can be read."""

    def reload(self) -> None:
        """Read again now, and publish even if nothing has changed, because an operator has asked for it."""


class Aggregator:
    """Runs the providers, and merges the last publications of all.

    accept   called with each merged configuration; for the first time when every provider has published, or after
             FIRST_S.
    refused  called with the problems of all providers when those of one have changed, and when all of them were asked
             to read again, and none has a configuration to publish.
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
        self._merger = Merger()
        self._problems: dict[str, tuple[str, ...]] = {}
        self.states = [ProviderState(provider.name) for provider in providers]
        self._asked: set[str] = set()  # by `reload`, and without an answer yet
        self._late = False  # FIRST_S have passed: providers that have not published yet are not waited for
        self.complete = asyncio.Event()  # `accept` was called

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
        self._asked = {provider.name for provider in self._providers}
        for provider in self._providers:
            provider.reload()

    def merged_with(self, provider: str, config: DynamicConfig) -> DynamicConfig:
        """What all configurations would be if a provider published this one."""
        return merge({**self._latest, provider: config})

    async def _start_without(self) -> None:
        """After FIRST_S, accept the configuration without providers that hang."""
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
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    return  # it failed while it was ended
                reason = typed_message_of(error)
                _log.error("provider %s failed, starting it again in %g s: %s", provider.name, wait_s, reason)
                _log.debug("provider %s failed", provider.name, exc_info=error)
                self._note_problems(provider.name, (f"provider {provider.name}: it failed: {reason}",), is_away=True)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, longest_s)

    def _published(self, update: Update) -> None:
        if update.config is not None or update.is_read:
            for state in self.states:
                if state.name == update.provider:
                    state.succeed(update.config)
        self._note_problems(update.provider, update.problems, update.is_away)
        if update.config is None:
            return
        self._asked.clear()  # what is in force is the answer
        self._latest[update.provider] = update.config
        if self._late or len(self._latest) == len(self._providers):
            self._hand_on()

    def _note_problems(self, provider: str, problems: tuple[str, ...], is_away: bool = False) -> None:
        for state in self.states:
            if state.name == provider:
                state.note(problems, not is_away)
        was_asked = provider in self._asked
        self._asked.discard(provider)
        if self._problems.get(provider, ()) != problems or (was_asked and not self._asked and problems):
            self._problems[provider] = problems
            self._refused([problem for name in sorted(self._problems) for problem in self._problems[name]])

    def _hand_on(self) -> None:
        self._accept(self._merger.merge(self._latest))
        self.complete.set()
