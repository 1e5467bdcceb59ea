"""Which objects may refer to which, and by what names: of one namespace, of others, of other providers. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from lbcore.config.tls import DEFAULT
from lbcore.provider.kubernetes.context import Context, Refused
from lbcore.provider.kubernetes.names import identity, normalize
from lbcore.provider.kubernetes.part import Part

PROVIDER = "kubernetescrd"
AT = "@"


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


@dataclass(frozen=True)
class CrdContext(Context):
    """wanted_class  of routes; empty: those without one, and the usual one."""

    references: References
    wanted_class: str


def options_name(references: References, parent: str, part: Part) -> str:
    """The name of the TLS options that a route wants. Raises Refused."""
    namespace, name = part.text("namespace"), part.text("name")
    part.end()
    if not name:
        return ""
    found = references.name(parent, namespace, name)
    return DEFAULT if name == DEFAULT else found
