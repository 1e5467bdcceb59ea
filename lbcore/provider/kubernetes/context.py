"""What all readers of objects share: the objects of a kind, their faults, and what is behind a service. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lbcore.config.static.kubernetes import KubernetesProvider
from lbcore.provider.kubernetes.client import Thing
from lbcore.provider.kubernetes.core import Core, Lacking
from lbcore.provider.kubernetes.draft import Draft
from lbcore.provider.kubernetes.endpoints import Backend, Ways, backend_of
from lbcore.provider.kubernetes.names import identity, normalize
from lbcore.provider.kubernetes.part import Part
from lbcore.provider.kubernetes.tasks import Seen, Step
from lbcore.provider.kubernetes.watch import about


class Refused(ValueError):
    """An object refers to what it may not, or says what cannot be meant."""


class Unavailable(ValueError):
    """A service has no servers, and is not to be there then."""


@dataclass(frozen=True)
class Context:
    """One reading of a cluster.

    keeps_empty  what leads to a service without endpoints is there nevertheless.
    sees_nodes   nodes are read.
    """

    settings: KubernetesProvider
    snapshot: Seen
    core: Core
    draft: Draft
    keeps_empty: bool
    sees_nodes: bool

    def backend(
        self, source: str, at: str, namespace: str, name: str, port: str, ways: Ways, protocol: str = "TCP"
    ) -> Backend | None:
        """What is behind a port of a service; None: nothing is known of it, which is reported. Raises Unavailable.

        source, at  the object that refers to it, and where.
        """
        try:
            backend = backend_of(self.core, namespace, name, port, ways, protocol)
        except Lacking as error:
            if not self.keeps_empty:
                raise Unavailable(f"{at}: {error}") from None
            self.draft.complain(f"{source}: {at}: {error}: no server")
            return None
        if not backend.endpoints and not self.keeps_empty:
            raise Unavailable(f"{at}: Service {namespace}/{name} has no endpoints, and allowEmptyServices is off")
        return backend

    def ways(self, native: bool | None, nodes: bool) -> Ways:
        """How a service is reached. `native`: whether by its own address, as it says itself; None: it says nothing."""
        settings = self.settings
        return Ways(
            settings.native_lb_by_default if native is None else native,
            nodes,
            settings.allow_external_name_services,
            self.sees_nodes,
        )


@contextmanager
def guarded(draft: Draft, named: str) -> Iterator[None]:
    """Have an object that is of another shape than its kind says be out alone."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        draft.complain(f"{named}: cannot be understood ({type(error).__name__}: {error})")


@dataclass(slots=True)
class Source:
    """An object that is read: its name for messages, and what is wrong with it so far."""

    thing: Thing
    kind: str
    faults: list[str]

    @property
    def namespace(self) -> str:
        return str(about(self.thing).get("namespace") or "")

    @property
    def name(self) -> str:
        metadata = about(self.thing)
        return str(metadata.get("name") or metadata.get("generateName") or "")

    @property
    def text(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def identity(self) -> str:
        """The name of what it becomes."""
        return normalize(identity(self.namespace, self.name))

    def spec(self) -> Part:
        """What it says. What is wrong with that is added to the faults."""
        spec = self.thing.get("spec")
        return Part({} if spec is None else spec, "spec", self.fault)

    def fault(self, text: str) -> None:
        """Add what is wrong, which begins with the key."""
        self.faults.append(f"{self.text}: {text}")

    def collect(self) -> tuple[list[str], Callable[[str], None]]:
        """What is wrong with a part of it alone, and the function that adds to that."""
        faults: list[str] = []
        return faults, lambda text: faults.append(f"{self.text}: {text}")


def step(kind: str, read: Callable[[Any, Source], None], ranked: bool = False) -> Step:
    """The step of a reading that reads all objects of a kind, each by itself."""

    def each(context: Any, thing: Thing) -> None:
        source = Source(thing, kind, [])
        with guarded(context.draft, source.text):
            read(context, source)

    return Step(kind, each, ranked)
