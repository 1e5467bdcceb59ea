"""Which objects may refer to which, and by what names: of one namespace, of others, of other providers. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from lbcore.config.tls import DEFAULT
from lbcore.provider.kubernetes.context import Context, Refused, Source, step
from lbcore.provider.kubernetes.draft import Draft
from lbcore.provider.kubernetes.names import aside, digest, identity, normalize
from lbcore.provider.kubernetes.part import Part
from lbcore.provider.kubernetes.shape import mapping, mappings

PROVIDER = "kubernetescrd"
AT = "@"
MIDDLEWARE, STREAM_MIDDLEWARE, POOL = "Middleware", "MiddlewareTCP", "TraefikService"
TRANSPORT, STREAM_TRANSPORT, OPTIONS = "ServersTransport", "ServersTransportTCP", "TLSOption"
# Where the objects of a kind go: layer, and kind there.
PLACES = {
    MIDDLEWARE: ("http", "middlewares"),
    STREAM_MIDDLEWARE: ("tcp", "middlewares"),
    POOL: ("http", "services"),
    TRANSPORT: ("http", "serversTransports"),
    STREAM_TRANSPORT: ("tcp", "serversTransports"),
    OPTIONS: ("tls", "options"),
}


@dataclass(frozen=True, slots=True)
class References:
    """What is allowed.

    across     references to other namespaces.
    providers  the namespaces that may refer to objects of other providers; None: all.
    draft      knows the names.
    """

    across: bool
    providers: list[str] | None
    draft: Draft

    def own(self, source: Source) -> str:
        """The name of an object that may be referred to."""
        layer, place = PLACES[source.kind]
        return self.draft.claim(layer, place, source.identity, (source.kind, source.namespace, source.name))

    def router(self, namespace: str, name: str, match: str) -> str:
        """The name of the router of a route of HTTP."""
        wanted = normalize(identity(namespace, f"{name}-{digest(match)}"))
        return self.draft.claim("http", "routers", wanted, ("IngressRoute", namespace, name, match))

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

    def name(self, kind: str, parent: str, namespace: str, name: str) -> str:
        """The name of an object of a kind to which one of namespace `parent` refers. Raises Refused."""
        if not name:
            raise Refused("name is missing")
        if AT in name:
            self.check_provider(parent, name)
            return name
        namespace = namespace or parent
        self.check(parent, namespace)
        (layer, place), owner = PLACES[kind], (kind, namespace, name)
        if (found := self.draft.name_of(layer, place, owner)) is not None:
            return found
        if kind == POOL:
            raise Refused(f"{kind} {namespace}/{name} does not exist")
        # What does not exist is named as it would be, but never by the name of something else.
        wanted = normalize(identity(namespace, name))
        return aside(wanted, owner) if self.draft.is_claimed(layer, place, wanted) else wanted

    def names(self, kind: str, parent: str, parts: list[Part]) -> list[str]:
        """The names of several. Raises Refused."""
        found = []
        for part in parts:
            namespace, name = part.text("namespace"), part.text("name")
            part.end()
            try:
                found.append(self.name(kind, parent, namespace, name))
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
    if name == DEFAULT:
        references.check(parent, namespace or parent)
        return DEFAULT
    return references.name(OPTIONS, parent, namespace, name)


def _claim(context: CrdContext, source: Source) -> None:
    if (source.kind, source.name) != (OPTIONS, DEFAULT):
        context.references.own(source)


def _claim_routers(context: CrdContext, source: Source) -> None:
    for route in mappings(mapping(source.thing.get("spec")).get("routes")):
        context.references.router(source.namespace, source.name, str(route.get("match") or ""))


# All objects that may be referred to get their names before anything refers to them.
CLAIMS = (*(step(kind, _claim) for kind in PLACES), step("IngressRoute", _claim_routers))
