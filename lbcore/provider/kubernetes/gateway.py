"""`providers.kubernetesGateway`: the kinds of the Gateway API in a cluster, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lbcore.config.static import StaticConfig
from lbcore.config.static.kubernetes import KubernetesGateway
from lbcore.provider.follow import Reading
from lbcore.provider.kubernetes.context import Source, guarded, sources
from lbcore.provider.kubernetes.core import MAPS, SECRETS, SERVICES, SLICES, Core, Lacking
from lbcore.provider.kubernetes.draft import Draft, Memory
from lbcore.provider.kubernetes.gateway_backends import index_policies
from lbcore.provider.kubernetes.gateway_http import Built, HttpRoute
from lbcore.provider.kubernetes.gateway_listeners import classes_of, read_gateways
from lbcore.provider.kubernetes.gateway_model import (
    GROUP,
    NAMESPACES,
    Content,
    Gateway,
    GatewayContext,
    Listener,
    Point,
    condition,
    kind_of,
)
from lbcore.provider.kubernetes.gateway_rules import hosts_in_common
from lbcore.provider.kubernetes.gateway_status import class_status, gateway_status, policy_status, route_status
from lbcore.provider.kubernetes.gateway_streams import StreamRoute
from lbcore.provider.kubernetes.names import normalize
from lbcore.provider.kubernetes.shape import mapping, mappings, texts
from lbcore.provider.kubernetes.status import Wanted
from lbcore.provider.kubernetes.store import KubernetesStore, Outcome
from lbcore.provider.kubernetes.watch import Kind, Snapshot, about

PROVIDER = "kubernetesgateway"
SECTION = "kubernetesGateway"  # the name of its settings below `providers`
ROUTES: dict[str, type[HttpRoute] | type[StreamRoute]] = {
    "HTTPRoute": HttpRoute,
    "GRPCRoute": HttpRoute,
    "TLSRoute": StreamRoute,
    "TCPRoute": StreamRoute,
    "UDPRoute": StreamRoute,
}
WITH_HOSTS = ("HTTPRoute", "GRPCRoute", "TLSRoute")


def kinds_of(settings: KubernetesGateway) -> list[Kind]:
    """The kinds that are read."""
    experimental = [
        kind_of("TCPRoute", "tcproutes", "v1alpha2", versioned=True),
        kind_of("UDPRoute", "udproutes", "v1alpha2", versioned=True),
    ]
    return [
        kind_of("GatewayClass", "gatewayclasses", scoped=False, versioned=True, selector=settings.label_selector),
        kind_of("Gateway", "gateways", versioned=True),
        kind_of("HTTPRoute", "httproutes", versioned=True),
        kind_of("GRPCRoute", "grpcroutes", versioned=True),
        kind_of("TLSRoute", "tlsroutes", versioned=True),
        *(experimental if settings.experimental_channel else []),
        kind_of("ReferenceGrant", "referencegrants", "v1beta1"),
        kind_of("BackendTLSPolicy", "backendtlspolicies", versioned=True),
        NAMESPACES,
        SERVICES,
        SLICES,
        SECRETS,
        MAPS,
    ]


def points_of(static: StaticConfig) -> list[Point]:
    """The entry points, as listeners find them."""
    found = []
    for name, point in static.entry_points.items():
        port = point.address.partition("/")[0].rpartition(":")[2]
        if port.isdigit():
            found.append(Point(name, int(port), point.is_udp, point.http.tls is not None))
    return found


def gateway_store(settings: KubernetesGateway, static: StaticConfig) -> KubernetesStore:
    """A cluster. Raises ConfigError for settings that cannot be used."""
    points = points_of(static)
    lease = settings.lease or normalize(f"lbcore-{settings.controller_name}").lower()

    def make(snapshot: Snapshot, memory: Memory) -> Outcome:
        return outcome_of(snapshot, settings, points, memory)

    return KubernetesStore(PROVIDER, SECTION, settings, kinds_of(settings), make, lease)


def outcome_of(snapshot: Snapshot, settings: KubernetesGateway, points: list[Point], memory: Memory) -> Outcome:
    """What the objects of a snapshot mean."""
    draft = Draft(memory)
    context = GatewayContext(settings, snapshot, Core(snapshot), draft, True, False, settings, points)
    kinds = {kind.name: kind for kind in kinds_of(settings)}
    index_policies(context)
    gateways = read_gateways(context)
    statuses: list[Wanted] = []
    for kind in [kind for kind in ROUTES if kind in kinds]:
        for rank, source in enumerate(sources(snapshot, kind)):
            with guarded(draft, source.text):
                if parents := _Route(context, gateways, source, rank).read():
                    make = route_status(parents, settings.controller_name)
                    statuses.append(Wanted(kinds[kind], source.namespace, source.name, make))
    for name, is_accepted in classes_of(context).items():
        thing = snapshot.find("GatewayClass", "", name)
        generation = about(thing or {}).get("generation")
        statuses.append(Wanted(kinds["GatewayClass"], "", name, class_status(is_accepted, generation)))
    addresses = _addresses(context)
    for gateway in gateways:
        make = gateway_status(gateway, addresses)
        statuses.append(Wanted(kinds["Gateway"], gateway.namespace, gateway.name, make))
        named = f"Gateway {gateway.namespace}/{gateway.name}"
        for listener in gateway.listeners:
            draft.problems += [f"{named}: listener {listener.name}: {each['message']}" for each in listener.conditions]
    for (namespace, name), said in context.policies.items():
        make = policy_status(said, settings.controller_name)
        statuses.append(Wanted(kinds["BackendTLSPolicy"], namespace, name, make))
        for conditions in list(said.values())[:1]:
            wrong = [each for each in conditions if each["status"] == "False"]
            draft.problems += [f"BackendTLSPolicy {namespace}/{name}: {each['message']}" for each in wrong[:1]]
    config = draft.config()
    reading = Reading(config, tuple(dict.fromkeys(draft.problems)), tuple(dict.fromkeys(draft.warnings)))
    return Outcome(reading, tuple(statuses))


def _addresses(context: GatewayContext) -> list[Content] | None:
    """Where Gateways are reached; None: that is not said, or not known yet."""
    wanted = context.options.status_address
    if wanted is None:
        return None
    if wanted.ip:
        return [{"type": "IPAddress", "value": wanted.ip}]
    if wanted.hostname:
        return [{"type": "Hostname", "value": wanted.hostname}]
    assert wanted.service is not None
    try:
        service = context.core.service(wanted.service.namespace, wanted.service.name)
    except Lacking as error:
        context.draft.problems.append(f"statuses of Gateways: statusAddress: {error}")
        return None
    found = mappings(mapping(mapping(service.get("status")).get("loadBalancer")).get("ingress"))
    addresses = [{"type": "IPAddress", "value": each["ip"]} for each in found if each.get("ip")]
    return addresses + [{"type": "Hostname", "value": each["hostname"]} for each in found if each.get("hostname")]


class _Route:
    """One route of any kind, at all of its Gateways."""

    def __init__(self, context: GatewayContext, gateways: Sequence[Gateway], source: Source, rank: int) -> None:
        self.context = context
        self.gateways = {(gateway.namespace, gateway.name): gateway for gateway in gateways}
        self.source = source
        self.rank = rank
        self.generation = about(source.thing).get("generation")
        self.spec = mapping(source.thing.get("spec"))
        self.attached: set[tuple[str, str, str]] = set()  # listeners that have it already: it counts once

    def read(self) -> list[Content]:
        """Add what the route becomes. Returns what is said of it at each of our Gateways."""
        found = []
        for reference in mappings(self.spec.get("parentRefs")):
            is_gateway = (reference.get("group", GROUP), reference.get("kind", "Gateway")) == (GROUP, "Gateway")
            key = (str(reference.get("namespace") or self.source.namespace), str(reference.get("name")))
            if is_gateway and key in self.gateways:
                found.append({"parentRef": reference, "conditions": self.at(self.gateways[key], reference)})
        return found

    def at(self, gateway: Gateway, reference: dict[str, Any]) -> list[Content]:
        """The conditions at one Gateway."""
        reason, text = "NoMatchingParent", "no listener has this name or port"
        is_accepted = False
        built: Built | None = None
        for listener in gateway.listeners:
            if not _is_named(listener, reference):
                continue
            hosts = self.hosts(listener)
            if self.source.kind not in listener.kinds or not listener.takes(self.source.namespace):
                if reason == "NoMatchingParent":
                    reason, text = "NotAllowedByListeners", "no listener takes this kind, or this namespace"
                continue
            if hosts is None:
                reason, text = "NoMatchingListenerHostname", "no listener has one of its hostnames"
                continue
            key = (gateway.namespace, gateway.name, listener.name)
            if key not in self.attached:
                self.attached.add(key)
                listener.attached += 1
            if not listener.is_blocked:
                is_accepted = True
                built = self.build(gateway, listener, hosts)
                self.add(built)
        if built is None and gateway.listeners:
            built = self.build(gateway, gateway.listeners[0], [])  # its references are judged in any case
        conditions = self.accepted(is_accepted, reason, text, built)
        unresolved = built.unresolved if built is not None else []
        if is_accepted:
            self.context.draft.problems += [f"{self.source.text}: {problem}" for _, problem in unresolved]
        why, message = unresolved[0] if unresolved else ("ResolvedRefs", "")
        conditions.append(condition("ResolvedRefs", not unresolved, why, message, self.generation))
        return conditions

    def accepted(self, is_accepted: bool, reason: str, text: str, built: Built | None) -> list[Content]:
        if not is_accepted:
            return [condition("Accepted", False, reason, text, self.generation)]
        if built is None or not built.unsupported:
            return [condition("Accepted", True, "Accepted", "", self.generation)]
        message = "; ".join(dict.fromkeys(built.unsupported))
        self.context.draft.problems += [f"{self.source.text}: {each}" for each in dict.fromkeys(built.unsupported)]
        if built.broken == built.rules:
            return [condition("Accepted", False, "UnsupportedValue", message, self.generation)]
        return [
            condition("Accepted", True, "Accepted", "", self.generation),
            condition("PartiallyInvalid", True, "UnsupportedValue", message, self.generation),
        ]

    def hosts(self, listener: Listener) -> list[str] | None:
        if self.source.kind not in WITH_HOSTS:
            return []
        return hosts_in_common(listener.hostname, [str(host) for host in texts(self.spec.get("hostnames"))])

    def build(self, gateway: Gateway, listener: Listener, hosts: list[str]) -> Built:
        return ROUTES[self.source.kind](self.context, self.source, gateway, listener, hosts, self.rank).build()

    def add(self, built: Built) -> None:
        """Add objects. What a listener on the same entry point has added already is the same."""
        draft = self.context.draft
        for (layer, kind, name), (content, at, faults) in built.made.items():
            if draft.content(layer, kind, name) != content:
                draft.put(layer, kind, name, content, self.source.text, at, faults)
        for user, reference, source in built.outside:
            draft.refer(user, reference, source)


def _is_named(listener: Listener, reference: dict[str, Any]) -> bool:
    section, port = reference.get("sectionName"), reference.get("port")
    return (not section or section == listener.name) and (not port or port == listener.port)
