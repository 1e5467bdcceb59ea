"""The state of each provider: its objects, its failures and its problems. No I/O."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from lbcore.config.dynamic import DynamicConfig


@dataclass(slots=True)
class ProviderState:
    """One provider.

    succeeded_unix_s  the last time that it has read its configuration; 0 = never.
    failed_unix_s     the last time that it could not, or could not use all of it.
    failures          how often.
    problems          what is wrong now; empty if nothing is.
    objects           routers, services, middlewares, ... of its last configuration.
    is_readable       whether its source could be read the last time.
    """

    name: str
    succeeded_unix_s: float = 0.0
    failed_unix_s: float = 0.0
    failures: int = 0
    problems: tuple[str, ...] = ()
    objects: int = 0
    is_readable: bool = True
    since_unix_s: float = field(default_factory=time.time)

    def succeed(self, config: DynamicConfig | None) -> None:
        """Its configuration was read; None: it is what it was."""
        self.succeeded_unix_s = time.time()
        if config is not None:
            self.objects = count(config)

    def note(self, problems: tuple[str, ...], is_readable: bool = True) -> None:
        """What is wrong now."""
        self.problems, self.is_readable = problems, is_readable
        if problems:
            self.failures += 1
            self.failed_unix_s = time.time()

    @property
    def age_s(self) -> float:
        """The time since its configuration was read; since the start, if it never was."""
        return max(0.0, time.time() - (self.succeeded_unix_s or self.since_unix_s))


def count(config: DynamicConfig) -> int:
    """The number of objects."""
    parts = (getattr(config, part) for part in type(config).model_fields)
    return sum(len(getattr(part, kind)) for part in parts for kind in type(part).model_fields if _holds(part, kind))


def _holds(part: object, kind: str) -> bool:
    return isinstance(getattr(part, kind), dict | list)
