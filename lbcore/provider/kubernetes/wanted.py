"""A status that an object of a cluster should have. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lbcore.provider.kubernetes.client import Thing
from lbcore.provider.kubernetes.watch import Kind


@dataclass(frozen=True, slots=True)
class Wanted:
    """A status. `make` makes it of the one that is there: others may have written parts of it."""

    kind: Kind
    namespace: str
    name: str
    make: Callable[[Thing], Thing]

    @property
    def path(self) -> str:
        return self.kind.path(self.namespace, self.name)

    @property
    def text(self) -> str:
        return f"{self.kind.name} {self.namespace}/{self.name}".replace(" /", " ")
