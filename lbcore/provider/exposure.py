"""What providers of containers and services have in common: which are exposed, what these say, and for how long."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from lbcore.errors import ConfigError, Problem
from lbcore.provider.combine import Combiner, Part, without_servers
from lbcore.provider.constraints import ConstraintError, Predicate, parse_constraints
from lbcore.provider.labels import LabelReader, Said
from lbcore.template.engine import Rule, TemplateError

LABELS = ("Label", "LabelRegex")  # the functions of constraints over labels ...
TAGS = ("Tag", "TagRegex")  # ... and tags


class Client(Protocol):
    """The connections to a store."""

    @property
    def place(self) -> str:
        """Where it is, for messages."""

    async def close(self) -> None:
        """Close them."""


class ExposingStore:
    """The base of stores that expose containers or services.

    provider   the key of the settings.
    name       the suffix of names.
    functions  those of constraints: LABELS or TAGS.
    Raises ConfigError for settings that cannot be used.
    """

    def __init__(self, provider: str, name: str, settings: Any, client: Client, functions: Collection[str]) -> None:
        self.name = name
        self._settings = settings
        self._client = client
        self._reader = _reader_of(provider, settings)
        self._matches = _predicate_of(provider, settings.constraints, functions)
        self._combiner = Combiner()

    @property
    def place(self) -> str:
        return self._client.place

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _reader_of(provider: str, settings: Any) -> LabelReader:
    try:
        return LabelReader(Rule(settings.default_rule), settings.label_files, provider)
    except TemplateError as error:
        raise ConfigError([Problem(f"providers.{provider}.defaultRule", error.problem, error.hint)]) from None


def _predicate_of(provider: str, text: str, functions: Collection[str]) -> Predicate:
    try:
        return parse_constraints(text, functions)
    except ConstraintError as error:
        raise ConfigError([Problem(f"providers.{provider}.constraints", str(error))]) from None


@dataclass(slots=True)
class Round:
    """The results of one reading, or of one container or service."""

    parts: list[Part] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, other: Round) -> None:
        """Add the results of another one."""
        self.parts += other.parts
        self.problems += other.problems
        self.warnings += other.warnings

    def note(self, said: Said, labels: Mapping[str, str]) -> None:
        """Report what labels say wrong; without any label for lbcore, nothing: it was never meant."""
        if said.config is not None or any(key.lower().startswith("traefik.") for key in labels):
            self.problems += said.problems
            self.warnings += said.warnings


@dataclass(slots=True)
class _Shown:
    """What a container has contributed while it could get requests, and since when it cannot any more."""

    part: Part
    gone_at: float = 0.0


class Grace:
    """Keeps the routers of what is gone, for a while: what is being replaced answers 503, and not 404.

    Parts are known by the last component of their age.
    """

    def __init__(self, longest: timedelta) -> None:
        self._longest_s = longest.total_seconds()
        self._shown: dict[str, _Shown] = {}

    def show(self, part: Part) -> None:
        """Record a part that may get requests."""
        self._shown[part.age[-1]] = _Shown(part)

    def forget(self, key: str) -> None:
        """Do not keep the routers of a part."""
        self._shown.pop(key, None)

    def add_gone(self, parts: list[Part]) -> float | None:
        """Add what is gone to the parts there are. Returns when the first of it is to go."""
        present = {part.age[-1] for part in parts}
        now, first = time.monotonic(), None
        for key, shown in list(self._shown.items()):
            if key in present:
                continue
            shown.gone_at = shown.gone_at or now
            rest_s = shown.gone_at + self._longest_s - now
            if rest_s <= 0:
                del self._shown[key]
                continue
            first = rest_s if first is None else min(first, rest_s)
            part = shown.part
            parts.append(Part(part.name, without_servers(part.config), part.age, False, True))
        return None if first is None else first + 0.01
