"""What routes of the Gateway API send requests to: services, what may be referred to, TLS by policies. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lbcore.config.scalars import to_bool
from lbcore.provider.kubernetes.client import Thing
from lbcore.provider.kubernetes.context import Source
from lbcore.provider.kubernetes.core import Lacking
from lbcore.provider.kubernetes.endpoints import Backend, Ways, backend_of
from lbcore.provider.kubernetes.gateway_model import (
    JUDGED,
    POLICIES,
    TRAEFIK,
    Conditions,
    Content,
    Gateway,
    GatewayContext,
    granted,
)
from lbcore.provider.kubernetes.gateway_model import condition as condition_of
from lbcore.provider.kubernetes.names import identity, normalize
from lbcore.provider.kubernetes.part import Part
from lbcore.provider.kubernetes.shape import mapping, mappings
from lbcore.provider.kubernetes.watch import about

NATIVE = "traefik.io/service.nativelb"
AT = "@"
STREAMS = frozenset(("TCPRoute", "TLSRoute", "UDPRoute"))
PROTOCOLS = {
    "": "http",
    "http": "http",
    "https": "https",
    "kubernetes.io/h2c": "h2c",
    "kubernetes.io/ws": "http",
    "kubernetes.io/wss": "https",
}
PROTOCOLS_OF_GRPC = {"": "h2c", "kubernetes.io/h2c": "h2c", "https": "https"}


class Unresolved(ValueError):
    """A reference of a route leads nowhere. `reason`: of its condition ResolvedRefs."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Target:
    """What a backendRef means.

    service  the name of an object of another provider; empty: it is `backend`.
    source   the object of the cluster that this has to be made of; empty: it is named by a file, or by lbcore itself.
    """

    service: str = ""
    backend: Backend | None = None
    namespace: str = ""
    name: str = ""
    source: str = ""


def target_of(context: GatewayContext, source: Source, part: Part, protocol: str = "TCP") -> Target:
    """What a backendRef of a route means. Raises Unresolved."""
    group, kind = part.text("group"), part.text("kind") or "Service"
    given, name, port = part.text("namespace"), part.text("name"), part.number("port")
    namespace = given or source.namespace
    named = f"{kind} {namespace}/{name}"
    if AT in name and given:
        raise Unresolved("RefNotPermitted", f"{part.path}: a name with a provider has no namespace")
    if not granted(context, source.kind, source.namespace, group, kind, name, namespace):
        raise Unresolved("RefNotPermitted", f"{part.path}: {named}: no ReferenceGrant allows it")
    if (group, kind) == (TRAEFIK, "TraefikService"):
        if AT in name:
            return Target(_of_provider(context, source, part, name))
        if source.kind in STREAMS:
            raise Unresolved("InvalidKind", f"{part.path}: {named} is no backend of a {source.kind}")
        return Target(f"{normalize(identity(namespace, name))}@kubernetescrd", source=named)
    if (group, kind) != ("", "Service"):
        raise Unresolved("InvalidKind", f"{part.path}: {group or 'core'}/{kind} is no kind of backends")
    if port is None:
        raise Unresolved("UnsupportedProtocol", f"{part.path}: {named}: port is missing")
    try:
        ways = _ways(context, namespace, name)
        backend = backend_of(context.core, namespace, name, str(port), ways, protocol)
    except Lacking as error:
        raise Unresolved("BackendNotFound", f"{part.path}: {error}") from None
    return Target("", backend, namespace, name)


def _ways(context: GatewayContext, namespace: str, name: str) -> Ways:
    """How a service is to be reached. Raises Lacking."""
    note = mapping(about(context.core.service(namespace, name)).get("annotations")).get(NATIVE)
    try:
        native = None if note is None else to_bool(str(note))
    except ValueError as error:
        raise Lacking(f"Service {namespace}/{name}: {NATIVE}: {error}") from None
    return context.ways(native, False)


def _of_provider(context: GatewayContext, source: Source, part: Part, name: str) -> str:
    """The name of a service of another provider. Raises Unresolved."""
    allowed = context.options.cross_provider_namespaces
    if allowed is not None and source.namespace not in allowed:
        text = f"{part.path}: {name} is of another provider, and {source.namespace} is not in crossProviderNamespaces"
        raise Unresolved("RefNotPermitted", text)
    return name


def scheme_of(target: Target, part: Part, is_grpc: bool) -> str:
    """The scheme of servers without a policy. Raises Unresolved."""
    backend = target.backend
    assert backend is not None
    known = PROTOCOLS_OF_GRPC if is_grpc else PROTOCOLS
    said = backend.protocol.lower()
    if said not in known:
        named = f"Service {target.namespace}/{target.name}"
        text = f"{part.path}: {named}: appProtocol {backend.protocol!r} is not supported"
        raise Unresolved("UnsupportedProtocol", text)
    return known[said]


# Policies


def index_policy(context: GatewayContext, source: Source) -> None:
    """Tell which services a policy names, and the name of the port that it is for; empty: of all."""
    namespace = str(about(source.thing).get("namespace"))
    for each in mappings(mapping(source.thing.get("spec")).get("targetRefs")):
        if (each.get("group") or "", each.get("kind")) == ("", "Service"):
            of = (POLICIES, namespace, str(each.get("name")))
            context.draft.note(of, (str(each.get("sectionName") or ""), source.thing))


@dataclass(frozen=True, slots=True)
class Policy:
    """TLS to servers. `transport`: the settings; None: they cannot be had, and nothing may be sent."""

    transport: Content | None


def policy_of(context: GatewayContext, gateway: Gateway, target: Target) -> Policy | None:
    """The policy for a port of a service: the oldest of those that name the port, else of those that do not."""
    backend = target.backend
    assert backend is not None
    known = context.draft.notes((POLICIES, target.namespace, target.name))
    found = [(section, thing) for section, thing in known if section in ("", backend.name)]
    found.sort(key=lambda pair: not pair[0])
    if not found:
        return None
    at = (gateway.namespace, gateway.name)
    for _, thing in found[1:]:
        text = f"BackendTLSPolicy {about(found[0][1]).get('name')} is older, or names the port"
        conflict = [condition_of("Accepted", False, "Conflicted", text, about(thing).get("generation"))]
        context.draft.note(_judged(thing), (at, False, conflict))
    thing = found[0][1]
    transport, conditions = _transport(context, thing)
    context.draft.note(_judged(thing), (at, True, conditions))
    return Policy(transport)


def _judged(thing: Thing) -> tuple[str, str, str]:
    return (JUDGED, str(about(thing).get("namespace")), str(about(thing).get("name")))


def judgements(context: GatewayContext, namespace: str, name: str) -> dict[tuple[str, str], Conditions]:
    """What became of a policy at each Gateway. It counts there if it counts for one route."""
    found: dict[tuple[str, str], Conditions] = {}
    for at, counts, conditions in context.draft.notes((JUDGED, namespace, name)):
        if counts:
            found[at] = conditions
        else:
            found.setdefault(at, conditions)
    return found


def _transport(context: GatewayContext, thing: Thing) -> tuple[Content | None, Conditions]:
    generation, namespace = about(thing).get("generation"), str(about(thing).get("namespace"))
    validation: dict[str, Any] = mapping(mapping(thing.get("spec")).get("validation"))
    hostname = str(validation.get("hostname") or "")
    content: Content = {"serverName": hostname}
    problem = ""
    uris = []
    for each in mappings(validation.get("subjectAltNames")):
        if each.get("type") == "URI":
            uris.append(str(each.get("uri")))
        elif each.get("hostname") != hostname:
            problem = "validation.subjectAltNames: names other than hostname are not supported"
    if len(uris) > 1:
        problem = "validation.subjectAltNames: one URI at most is supported"
    if uris:
        content["peerCertURI"] = uris[0]
    if problem:
        return None, [
            condition_of("Accepted", False, "Invalid", problem, generation),
            condition_of("ResolvedRefs", True, "ResolvedRefs", "", generation),
        ]
    known = validation.get("wellKnownCACertificates")
    authorities, reason, text = [], "", ""
    for each in mappings(validation.get("caCertificateRefs")):
        kind, name = each.get("kind"), str(each.get("name") or "")
        try:
            if each.get("group") or kind not in ("ConfigMap", "Secret"):
                reason, text = "InvalidKind", f"{kind} is no kind of authorities"
            elif kind == "ConfigMap":
                authorities.append(context.core.map_authority(namespace, name))
            else:
                authorities.append(context.core.authority(namespace, name, lenient=False))
        except Lacking as error:
            reason, text = "InvalidCACertificateRef", str(error)
    if not reason and not authorities and known != "System":
        reason, text = "InvalidCACertificateRef", "neither caCertificateRefs nor wellKnownCACertificates: System"
    if authorities:
        content["rootCAs"] = authorities
    if reason and not authorities:
        return None, [
            condition_of("Accepted", False, "NoValidCACertificate", text, generation),
            condition_of("ResolvedRefs", False, reason, text, generation),
        ]
    return content, [
        condition_of("Accepted", True, "Accepted", "", generation),
        condition_of("ResolvedRefs", not reason, reason or "ResolvedRefs", text, generation),
    ]
