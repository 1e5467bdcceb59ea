"""Which objects may refer to which, and by what names: of one namespace, of others, of other providers. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lbcore.config.static.kubernetes import KubernetesCrd
from lbcore.config.tls import DEFAULT
from lbcore.provider.kubernetes.client import Thing
from lbcore.provider.kubernetes.core import Core
from lbcore.provider.kubernetes.draft import Draft
from lbcore.provider.kubernetes.names import identity, normalize
from lbcore.provider.kubernetes.part import Part
from lbcore.provider.kubernetes.watch import Snapshot, about

PROVIDER = "kubernetescrd"
AT = "@"


class Refused(ValueError):
    """An object refers to what it may not, or says what cannot be meant."""


class Unavailable(ValueError):
    """A service has no servers, and is not to be there then."""


@dataclass(frozen=True, slots=True)
class References:
    """What is allowed.

    across     references to other namespaces.
    providers  the namespaces that may refer to objects of other providers; None: all.
    """

    across: bool
    providers: list[str] | None

    def check(self, parent: str, namespace: str) -> None:
        """Whether an object of namespace `parent` may refer to one of `namespace`. Raises Refused."""
        if namespace != parent and not self.across:
            raise Refused(f"refers to namespace {namespace}, which allowCrossNamespace does not allow")

    def check_provider(self, parent: str, name: str) -> None:
        """Whether an object of a namespace may use a name with a provider. Raises Refused."""
        if not self.across and name.endswith(AT + PROVIDER):
            raise Refused(f"{name} may be of another namespace, which allowCrossNamespace does not allow")
        if self.providers is not None and parent not in self.providers:
            raise Refused(f"{name} is of another provider, and {parent} is not in crossProviderNamespaces")

    def name(self, parent: str, namespace: str, name: str) -> str:
        """The name of an object to which one of namespace `parent` refers. Raises Refused."""
        if not name:
            raise Refused("name is missing")
        if AT in name:
            self.check_provider(parent, name)
            return name
        self.check(parent, namespace or parent)
        return normalize(identity(namespace or parent, name))

    def names(self, parent: str, parts: list[Part]) -> list[str]:
        """The names of several. Raises Refused."""
        found = []
        for part in parts:
            namespace, name = part.text("namespace"), part.text("name")
            part.end()
            try:
                found.append(self.name(parent, namespace, name))
            except Refused as error:
                raise Refused(f"{part.path}: {error}") from None
        return found


@dataclass(frozen=True, slots=True)
class Context:
    """What all readers of kinds share."""

    settings: KubernetesCrd
    snapshot: Snapshot
    core: Core
    draft: Draft
    references: References


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
        return Part(self.thing.get("spec") or {}, "spec", self.fault)

    def fault(self, text: str) -> None:
        """Add what is wrong, which begins with the key."""
        self.faults.append(f"{self.text}: {text}")

    def collect(self) -> tuple[list[str], Callable[[str], None]]:
        """What is wrong with a part of it alone, and the function that adds to that."""
        faults: list[str] = []
        return faults, lambda text: faults.append(f"{self.text}: {text}")


def sources(snapshot: Snapshot, kind: str) -> list[Source]:
    """The objects of a kind, the oldest first."""
    return [Source(thing, kind, []) for thing in snapshot.all(kind)]


def options_name(references: References, parent: str, part: Part) -> str:
    """The name of the TLS options that a route wants. Raises Refused."""
    namespace, name = part.text("namespace"), part.text("name")
    part.end()
    if not name:
        return ""
    found = references.name(parent, namespace, name)
    return DEFAULT if name == DEFAULT else found
